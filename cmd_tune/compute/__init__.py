"""What the computer underneath gives: compiled C++, threads, memory, a device, a home folder, a screen.

Here is nothing about skeletons, models or searches. Every other folder may import from here; this one imports files and
errors alone.
"""
