"""The machine: compiled C++, CPUs, threads, memory, devices, random streams, the home folder, the screen.

Not here: anything about skeletons, models or searches. Every other folder may import from here; this one imports only
files and errors.
"""
