"""Many jobs, in this process, in several, or on Ray: each leaves a folder that appears whole, and is made once."""
