"""`robolearn dataset view`: a web page on this machine to look at episodes, and to edit labels and masks."""
