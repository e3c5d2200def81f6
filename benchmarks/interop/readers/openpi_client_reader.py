# mypy: ignore-errors
"""Talks to a robolearn server with openpi's own client, and with its action chunk broker.

    python openpi_client_reader.py ADDRESS OBS_HORIZON

The server's actions are newest + 100 x oldest + (0, 1, ...) of the window of a state of 10 equal numbers. Prints one
line of json: answers, the worst difference, and the errors that the client raised.
"""

import json
import sys

import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

STATE, HORIZON, STEP_S = "observation.state", 8, 0.05


def observation(value, **entries):
    return {STATE: np.full(10, value, np.float32), "prompt": "put it on the plate", **entries}


def expected(newest, oldest):
    return np.float32(newest + 100 * oldest + np.arange(HORIZON))[:, None].repeat(10, 1)


def error_of(call):
    try:
        call()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("no error was raised")


class Report:
    def __init__(self):
        self.items, self.worst, self.errors = 0, 0.0, {}

    def compare(self, found, wanted):
        assert found.shape == wanted.shape, (found.shape, wanted.shape)
        self.items, self.worst = self.items + 1, max(self.worst, float(np.abs(found - wanted).max()))


def one_observation(address, report):
    """Policies of one observation: openpi's client as it is."""
    client = WebsocketClientPolicy(address)
    assert client.get_server_metadata()["spec"]["obs_horizon"] == 1
    for value in range(20):
        report.compare(client.infer(observation(value))["actions"], expected(value, value))
    broker = ActionChunkBroker(WebsocketClientPolicy(address), HORIZON)
    for step in range(3 * HORIZON):
        asked = step - step % HORIZON
        report.compare(broker.infer(observation(step))["actions"], expected(asked, asked)[step % HORIZON])
    report.errors["wrong name"] = error_of(lambda: client.infer({"observation/state": np.zeros(10, np.float32)}))
    report.errors["wrong shape"] = error_of(
        lambda: WebsocketClientPolicy(address).infer({STATE: np.zeros(9, np.float32)})
    )


def two_observations(address, report):
    """Policies that look back: what the client must add, and what it is told when it does not."""
    report.errors["no time"] = error_of(lambda: WebsocketClientPolicy(address).infer(observation(1)))

    client = WebsocketClientPolicy(address)
    for episode in range(2):
        client.reset()  # does nothing
        assert client.infer({"__op__": "reset"}) == {"__op__": "reset"}
        for step in range(20):
            value, before = 100 * episode + step, 100 * episode + max(step - 1, 0)
            answer = client.infer(observation(value, __t_obs__=7.0 + STEP_S * (30 * episode + step)))
            report.compare(answer["actions"], expected(value, before))

    window = {STATE: np.float32([[3] * 10, [4] * 10])}
    report.compare(WebsocketClientPolicy(address).infer(window)["actions"], expected(4, 3))

    broker = ActionChunkBroker(WebsocketClientPolicy(address), HORIZON)

    def eight_steps_apart():
        for step in range(2 * HORIZON):
            broker.infer(observation(step, __t_obs__=STEP_S * step))

    report.errors["8 steps apart"] = error_of(eight_steps_apart)


if __name__ == "__main__":
    report = Report()
    (one_observation if sys.argv[2] == "1" else two_observations)(sys.argv[1], report)
    print(json.dumps({"items": report.items, "max_error": report.worst, "errors": report.errors}))
