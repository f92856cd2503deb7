"""Deterministic simulation: whole clouds in one thread, on a simulated clock, with every fault that a seed can draw.

The engines, the fold, the agents' voices and the codec are the real ones; threads, brokers and clocks are replaced. All
random choices come from one seed, so a run that fails will fail again.
"""
