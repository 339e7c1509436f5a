"""The kinds of video file: each module adds its own to `containers.CONTAINERS`."""
