"""`kraftpy doctor`: why a client cannot reach a cluster, step by step as a client of Kafka goes.

`probing` connects and asks one address, `findings` judges what came back and says which setting to change, `command`
puts both together and prints.
"""
