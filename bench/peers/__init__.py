"""Other stream processors at the same work: the topic of orders, the fold of the `order` view, rows in Redis.

Each is a small program in its framework's own style, run in an environment of its own (requirements.txt), one process
each. All decode with our codec and fold with our view's fold (orders.py), so that the frameworks and their ways to a
sink are compared, and each writes as many rows at once as its framework hands over.

|              | after a crash                                  | two writers of one partition    | what cannot be folded |
| ------------ | ---------------------------------------------- | ------------------------------- | --------------------- |
| Marea        | goes on at the position stored with the rows   | the one that is behind is fenced | parked, the rest goes on |
| Bytewax      | at its last snapshot, every 5 s: rows twice    | both write                      | ends the program      |
| Quix Streams | at its last checkpoint, every 0.2 s: rows twice | both write                      | ends the program      |
| arroyo       | at the last commit, about every second: twice  | both write                      | ends the program (dead letters only of what is marked invalid) |
| Faust        | at the last commit, every 2.8 s: twice, and it may commit past what failed | both write | logged, and lost |

"Twice" is harmless here, because the shared code skips versions that a row already has. Only Marea also keeps each
aggregate's version, refuses gaps, and proves the rows equal to the live view's.
"""
