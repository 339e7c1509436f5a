"""flowedit as a pipeline of diffusers, around one that is loaded already."""
