"""The commands of `leaderboard`, a file each (or a few that belong together); `deploy.cli` lists them.

A module here imports click and little else: what a command needs, it imports when it runs, so that
`leaderboard --help` is quick and one command's dependencies are not another's.
"""
