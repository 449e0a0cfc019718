"""What each stage of the pipeline does: how it is made, where it is kept, how it goes on after a crash."""
