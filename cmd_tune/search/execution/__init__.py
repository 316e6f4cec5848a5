"""How trials get onto computers: resources, Ray's session and nodes, what runs in a trial's process.

It knows tasks, engines and computers. It knows no study, no plan and no report: the controller connects it with those.
"""
