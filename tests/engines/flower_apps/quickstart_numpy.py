"""A ClientApp as Flower's template for NumPy writes it: arrays go back by position."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(msg: Message, context: Context):
    ndarrays = msg.content["arrays"].to_numpy_ndarrays()
    model = ndarrays[0]
    model += np.random.rand(*model.shape) + context.node_config["partition-id"]
    metrics = {"random_metric": float(np.random.rand()), "num-examples": 1}
    content = RecordDict({"arrays": ArrayRecord([model]), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context):
    ndarrays = msg.content["arrays"].to_numpy_ndarrays()
    metrics = {"largest": float(ndarrays[0].max()), "num-examples": 2}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)
