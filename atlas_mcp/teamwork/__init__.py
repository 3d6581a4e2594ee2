"""Agents together: the team task, from its plan to its rated result. The door is `task.run_team_task`."""
