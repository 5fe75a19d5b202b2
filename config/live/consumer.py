"""The one websocket of a page: it takes nothing from the browser and gives it hints."""

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from config.live.tail import GROUP, tail


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Passes hints on to one browser of somebody who is signed in."""

    is_watching = False

    async def connect(self) -> None:
        if not self.scope["user"].is_authenticated:
            await self.close()
            return
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await tail.join()
        self.is_watching = True
        await self.accept()

    async def disconnect(self, code: int) -> None:
        if self.is_watching:
            tail.leave()
            await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Ignore what the browser says: what a person does is always a POST."""

    async def live_hints(self, event: dict[str, Any]) -> None:
        await self.send_json({"kinds": event["kinds"], "keys": event["keys"]})
