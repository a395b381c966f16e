"""Writing to MLflow: runs found again by their tags, and everything that a stage logs."""

from __future__ import annotations

import getpass
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pipeline.tracking.connection import database_file, make_client
from pipeline.tracking.content import Adapter, Checkpoint, Content, Data, Point
from pipeline.tracking.flavour import ADAPTER, describe_model
from pipeline.tracking.layout import Place, RunFolder

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

T = TypeVar("T")

RUN, PLACE, HASH = "specdrive.run", "specdrive.place", "specdrive.outputs"
"""Tags by which runs are found again: which pipeline run, which stage of it, and its outputs."""

PIPELINE = "pipeline"
"""The place of the run that stands for all stages together."""

VERSIONS = "mlflow.modelVersions"
"""MLflow's tag of a logged model that was registered: names and versions, as JSON."""

_EXPERIMENT = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Language models learn to write driving controllers that a model "
    "checker proves. One run per pipeline, with a child run per stage and round.",
}
_BATCH, _TEXT = 100, 5000


class Store:
    """One experiment of an MLflow store.

    Args:
        uri: The store.
        experiment: Its name; made if there is none.

    Raises:
        StoreError, MlflowException: The store cannot be used.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.client = make_client(uri)
        self.is_database = urlsplit(uri).scheme not in ("http", "https")
        self.experiment = self._experiment(uri, experiment)

    def _experiment(self, uri: str, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        file = database_file(uri)
        # mlflow's own default would be relative to wherever a program happens to run.
        location = (file.parent / "mlruns" / name).as_uri() if file is not None else None
        try:
            return self.client.create_experiment(name, location, _EXPERIMENT)
        except Exception:
            # Another pipeline may have been faster.
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def find(self, run_key: str, place: str) -> Run | None:
        """The run of a place, if there is one."""
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{RUN}` = '{run_key}' and tags.`{PLACE}` = '{place}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return found[0] if found else None

    def parent(self, run: RunFolder, known: str | None) -> str:
        """Id of the run of the whole pipeline, made if there is none."""
        if known is not None and self._is_here(known):
            return known
        found = self.find(run.key, PIPELINE)
        if found is not None:
            return found.info.run_id
        tags = {RUN: run.key, PLACE: PIPELINE, **_origin("specdrive run")}
        made = self.client.create_run(
            self.experiment, start_time=run.created or None, tags=tags, run_name=run.name
        )
        return made.info.run_id

    def _is_here(self, run_id: str) -> bool:
        try:
            info = self.client.get_run(run_id).info
        except Exception as error:
            if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return info.lifecycle_stage == "active" and info.experiment_id == self.experiment

    def logged(self, run_key: str, place: Place) -> str | None:
        """Id of the finished run of a place with these outputs.

        What an interrupted attempt or other outputs have left is deleted, but for adapters that
        were registered: an alias may point to them.
        """
        while (found := self.find(run_key, place.path)) is not None:
            complete = found.info.status == "FINISHED"
            if complete and found.data.tags.get(HASH) == place.hash:
                return found.info.run_id
            for model in self.models(found.info.run_id):
                if VERSIONS not in model.tags:
                    self.client.delete_logged_model(model.model_id)
            self.client.delete_run(found.info.run_id)
        return None

    def log(self, run: RunFolder, parent: str, place: Place, content: Content) -> str:
        """Log a stage as a child of ``parent``, and its share of the parent's metrics."""
        tags = {
            RUN: run.key,
            PLACE: place.path,
            HASH: place.hash,
            "mlflow.parentRunId": parent,
            **_origin(f"specdrive stage {place.stage}"),
            "stage": place.stage,
            "round": str(place.round),
            **({"variant": place.variant} if place.variant else {}),
            **content.tags,
        }
        made = self.client.create_run(
            self.experiment,
            start_time=place.started or None,
            tags={key: value[:_TEXT] for key, value in tags.items()},
            run_name=place.title,
        )
        child = made.info.run_id
        self.params(child, content.params)
        self._inputs(child, content.datasets)
        self._files(child, content)
        model = None
        if content.adapter is not None:
            model = self._adapter(child, place, content.adapter)
        if content.checkpoint is not None:
            model = self._checkpoint(child, place, content.checkpoint)
        self._metrics(child, content.metrics, place.ended, self._evaluated(run, place))
        # The parent's share comes before the child is complete: after a kill all is logged again,
        # and the same value at the same moment is one value to MLflow.
        self._metrics(parent, content.parent_metrics, place.ended)
        self._inputs(parent, content.parent_datasets)
        self._blobs(parent, content.parent_blobs)
        if model is not None and not place.variant:
            self._output(parent, place, model)
        self.tags(parent, content.parent_tags)
        self.client.set_terminated(child, "FINISHED", end_time=place.ended or None)
        return child

    def tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        for part in _parts([RunTag(key, value[:_TEXT]) for key, value in tags.items()], _BATCH):
            self.client.log_batch(run_id, tags=part)

    def params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log parameters; one that had another value before keeps it, and a tag says so."""
        from mlflow.entities import Param

        before = self.client.get_run(run_id).data.params
        shown = {key: value[:_TEXT] for key, value in params.items()}
        fresh = [Param(key, value) for key, value in shown.items() if key not in before]
        for part in _parts(fresh, _BATCH):
            self.client.log_batch(run_id, params=part)
        self.tags(
            run_id,
            {
                f"changed.{key}": value
                for key, value in shown.items()
                if key in before and before[key] != value
            },
        )

    def file(self, run_id: str, artefact: str, file: Path) -> None:
        """Log a file whose own name is the last part of the artefact's path."""
        folder = artefact.rpartition("/")[0]
        self.client.log_artifact(run_id, str(file), folder or None)

    def models(self, run_id: str) -> Sequence[LoggedModel]:
        """What a run has trained."""
        return self.client.search_logged_models(
            [self.experiment], filter_string=f"source_run_id = '{run_id}'"
        )

    def source(self, model: LoggedModel) -> str:
        """Where a version of a registered model is to find its files.

        By its id on a server, which refuses paths; by its folder in a database, where mlflow would
        look the id up in whatever store is the process's default.
        """
        return model.artifact_location if self.is_database else f"models:/{model.model_id}"

    def _metrics(
        self,
        run_id: str,
        points: Iterable[Point],
        timestamp: int,
        model: str | None = None,
    ) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(
                point.key,
                point.value,
                timestamp,
                point.step,
                model_id=model if point.split else None,
                run_id=run_id,
            )
            for point in points
        ]
        for part in _parts(metrics, 5 * _BATCH):
            self.client.log_batch(run_id, metrics=part)

    def _evaluated(self, run: RunFolder, place: Place) -> str | None:
        """Id of the logged model that an evaluation is about."""
        if place.stage != "evaluate":
            return None
        trained = self.find(run.key, f"{place.path.rpartition('/')[0]}/train")
        models = self.models(trained.info.run_id) if trained is not None else ()
        return models[0].model_id if models else None

    def _inputs(self, run_id: str, datasets: Sequence[Data]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=one.name,
                    digest=one.digest,
                    source_type="local",
                    source=json.dumps({"uri": one.file.absolute().as_uri()}),
                    schema=json.dumps(
                        {
                            "mlflow_colspec": [
                                {"name": name, "type": "string", "required": False}
                                for name in one.columns
                            ]
                        }
                    ),
                    profile=json.dumps({"num_rows": one.rows}),
                ),
                tags=[InputTag("mlflow.data.context", one.context)],
            )
            for one in datasets
        ]
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)

    def _files(self, run_id: str, content: Content) -> None:
        """Files, pictures and tables; the tables in the form of ``mlflow.log_table``.

        ``log_table`` itself adds to a table that is there, which would not bear repetition.
        """
        for artefact, file in content.files.items():
            self.file(run_id, artefact, file)
        made = dict(content.blobs) | {
            artefact: table.to_json().encode() for artefact, table in content.tables.items()
        }
        self._blobs(run_id, made)
        if content.tables:
            shown = [{"path": artefact, "type": "table"} for artefact in content.tables]
            self.client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps(shown))

    def _blobs(self, run_id: str, blobs: Mapping[str, bytes]) -> None:
        if not blobs:
            return
        with tempfile.TemporaryDirectory() as folder:
            for artefact, content in blobs.items():
                path = Path(folder, artefact)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self.client.log_artifacts(run_id, folder)

    def _output(self, run_id: str, place: Place, model: str) -> None:
        from mlflow.entities import LoggedModelOutput

        self.client.log_outputs(run_id, [LoggedModelOutput(model, place.round)])

    def _adapter(self, run_id: str, place: Place, adapter: Adapter) -> str:
        """The adapter as a logged model of the run; its id."""
        tags = {"adapter_sha256": adapter.sha256, "trained_by": place.title}
        name = _model_name(place)
        return self._model(
            run_id, place, name, "lora-adapter", tags, adapter.parameters, (adapter.folder,)
        )

    def _checkpoint(self, run_id: str, place: Place, checkpoint: Checkpoint) -> str:
        """The quantized model as a logged model of the run; its id."""
        tags = {"checkpoint_sha256": checkpoint.sha256, "quantized_by": place.title}
        with tempfile.TemporaryDirectory() as folder:
            beside = ()
            if checkpoint.adapter is not None:
                shutil.copytree(checkpoint.adapter, Path(folder, ADAPTER))
                beside = (Path(folder),)
            folders = (checkpoint.folder, *beside)
            return self._model(
                run_id, place, "quantized", "quantized", tags, checkpoint.parameters, folders
            )

    def _model(
        self,
        run_id: str,
        place: Place,
        name: str,
        kind: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, str],
        folders: Iterable[Path],
    ) -> str:
        """A logged model of the run that holds the content of folders; its id."""
        model = self.client.create_logged_model(
            self.experiment,
            name=name,
            source_run_id=run_id,
            tags=dict(tags),
            params=dict(parameters),
            model_type=kind,
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "MLmodel").write_text(
                describe_model(name, model.model_id, run_id, place.finished_at, parameters),
                encoding="utf-8",
            )
            self.client.log_model_artifacts(model.model_id, folder)
        for folder in folders:
            self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, "READY")
        self._output(run_id, place, model.model_id)
        return model.model_id


def _origin(command: str) -> dict[str, str]:
    """Who and what made a run, in MLflow's tags."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = "unknown"
    return {"mlflow.source.name": command, "mlflow.source.type": "LOCAL", "mlflow.user": user}


def _model_name(place: Place) -> str:
    """``adapter-round-01``, ``adapter-no_sft``: lists show nothing else of a logged model."""
    return f"adapter-{place.variant or f'round-{place.round:02d}'}"


def _parts(items: Iterable[T], size: int) -> Iterable[list[T]]:
    """Lists of at most ``size`` items."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
