"""Where runs and models are kept: a file of one's own, or a server that a team shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from forecastkit.errors import StoreError

HOME = Path(".forecastkit")
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's page asks whether it is about agents


@dataclass(frozen=True)
class Place:
    """A tracking server or database; `folder` is where artifacts go unless a server decides that itself."""

    uri: str
    folder: Path

    @classmethod
    def at(cls, uri: str | None = None, home: Path = HOME) -> Place:
        """The server or database at `uri`, or the file of this folder where none is given."""
        home = home.absolute()
        return cls(uri or f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")

    @cached_property
    def client(self) -> MlflowClient:
        """Raises `StoreError` where nobody answers or nothing can be written."""
        with answering(self.uri):
            if self.uri.startswith("sqlite:///"):
                Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(self.uri, self.uri)
            client.search_experiments(max_results=1)
            return client

    def experiment(self, name: str) -> str:
        """The id of the experiment of that name, which is made if need be."""
        with answering(self.uri):
            found = self.client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            # Without a location MLflow would write artifacts to ./mlruns of whatever folder one happens to be in.
            own = None if self.uri.startswith("http") else (self.folder / quote(name, safe="")).as_uri()
            return str(self.client.create_experiment(name, artifact_location=own, tags=_KIND))


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what goes wrong with MLflow into `StoreError`."""
    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        if isinstance(error, StoreError):
            raise
        first = str(error).strip().partition("\n")[0]
        raise StoreError(f"tracking at {uri}: {first}") from error
