"""What the live numbers of a queue mean for whoever runs it: is it healthy, how many workers does it want, when is the backlog gone. Pure.

`facts` puts a queue's numbers together; `health`, `scaling` and `forecast` judge them; `state` is what has to be remembered between two
looks. Time is the watermark. Who looks, and when, is `signal_keeper`.
"""
