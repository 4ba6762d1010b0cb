"""The mount as a program: its configuration, its folders, its processes, and the one place where its parts meet."""
