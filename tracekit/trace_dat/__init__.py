"""trace.dat, the file of trace-cmd: read (versions 6 and 7), made a session of, and written (6).

The format: trace-cmd.dat.v6(5) and trace-cmd.dat.v7(5), and libtracecmd where those are silent.
"""
