"""Files of fused models in the formats of their framework, written by a child process on demand."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from fusion_nb.core.files import storage
from fusion_nb.service.aggregator import Aggregator
from fusion_nb.service.processes.inspection_pool import InspectionPool
from fusion_nb.service.storage.round_files import Which


class ModelFiles:
    """Fused models as files, of which the newest is kept for each format.

    home: the folder of all aggregators;  converters: the processes that write models
    """

    def __init__(self, home: Path, converters: InspectionPool) -> None:
        self._home = home
        self._converters = converters

    async def read(
        self, client_id: str, aggregator: Aggregator, format: str, which: Which
    ) -> tuple[bytes, int]:
        """Return the model of the last or best whole round as a file's content, and that round.

        Raises UnknownError before the first whole round.
        """
        folder = aggregator.folder.path
        _, number = aggregator.folder.rounds.weights_file(which)
        kept = folder / f"model-{which}-{number}.{format}"
        with suppress(FileNotFoundError):  # not written yet, or just replaced by a newer one
            return await asyncio.to_thread(kept.read_bytes), number
        # The draft is not in the aggregator's folder, where the end of a training removes drafts.
        with storage.draft_folder(self._home) as draft:
            target = draft / f"model.{format}"
            found = await self._converters.ask(
                "convert",
                client=client_id,
                path=str(folder),
                which=which,
                format=format,
                target=str(target),
            )
            number = int(found["round"])
            content = await asyncio.to_thread(target.read_bytes)
            kept = folder / f"model-{which}-{number}.{format}"
            target.rename(kept)
        for older in folder.glob(f"model-{which}-*.{format}"):
            if older != kept:
                older.unlink(missing_ok=True)
        return content, number
