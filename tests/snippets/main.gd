# Plays the snippet for Godot, put into the words of Godot 3: Debian has no newer one.
extends SceneTree

func _init():
	var board = load("res://board.gd").new()
	board.key = OS.get_environment("KEY")
	root.add_child(board)
	play(board)

func play(board):
	yield(self, "idle_frame")
	show(yield(board.submit("ada", 120), "completed"))
	show(yield(board.top(), "completed"))
	show(yield(board.my_rank("ada"), "completed"))
	quit()

func show(answer):
	print("answer: ", to_json(answer))
