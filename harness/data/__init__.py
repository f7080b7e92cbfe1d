"""Task data: sources, typed form, identity check, mirror."""
