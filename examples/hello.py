"""The smallest component: greets each connection with its name and epoch while it is active.

Try it by hand:  HOLDFAST_EPOCH=1 python examples/hello.py   (then: nc localhost 5400)
Over UDP one thing more would be needed: to answer from the address that was asked (see docs/vnfc.md).
"""

import os
import socket

from holdfast import vnfc


class Hello(vnfc.Component):
    def start(self) -> None:
        self.greeting = b""
        self.door = socket.create_server(("", int(os.environ.get("HELLO_PORT", "5400"))))
        self.loop.on_readable(self.door, self.answer)
        if self.session is None:  # by hand, without an agent: nobody will give us a role
            self.greet(self.epoch)

    def greet(self, epoch: int) -> None:
        self.greeting = f"hello from {self.name}, epoch {epoch}\n".encode()

    def become_active(self, role: vnfc.Role) -> None:
        self.greet(role.epoch)

    def become_standby(self, role: vnfc.Role) -> None:
        self.greeting = b""

    def quiesce(self, role: vnfc.Role) -> None:
        self.greeting = b""

    def check(self) -> str | None:
        return None  # or what is wrong

    def answer(self) -> None:
        client, _ = self.door.accept()
        with client:
            client.sendall(self.greeting)


if __name__ == "__main__":
    vnfc.run(Hello())
