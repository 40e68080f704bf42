"""The local stack: which programs there are, and how they are started, watched and stopped.

layout.py     where a stack's ports, folders, passwords and addresses are
program.py    what a program is; readiness
programs/     one module a program, or a kind of programs
sources.py    the files that a program is made of
supervisor.py keeps programs running, by way of supervisord.py
stack.py      up and down: programs and preparations in the order of what they need
"""
