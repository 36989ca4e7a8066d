"""Make a model file smaller, whatever network it holds, and say what that costs.

Methods that need no training stand here, above `bench` and `runtime`: they run models and measure them, which `train`
may not import, and they need no torch, which `train` would ask for.
"""
