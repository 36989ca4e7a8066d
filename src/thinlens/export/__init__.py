"""Plans in other formats, written from the plan itself: no torch, no exporter between."""
