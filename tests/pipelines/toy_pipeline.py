"""A pipeline of the tests' own, with a part of every kind."""

from pathlib import Path

from kfp import compiler, dsl, kubernetes
from kfp.dsl import Artifact, Dataset, Input, Model, Output

DATA, TRAIN = "registry.test/data@sha256:" + "1" * 64, "registry.test/train@sha256:" + "2" * 64


@dsl.component(base_image=DATA, install_kfp_package=False)
def make(parts: int, out: Output[Dataset]) -> list[str]:
    return [str(part) for part in range(parts)]


@dsl.component(base_image=DATA, install_kfp_package=False)
def work(part: str, data: Input[Dataset], made: Output[Dataset]) -> str:
    return part


@dsl.component(base_image=DATA, install_kfp_package=False)
def join(parts: list[str], sets: Input[list[Dataset]], out: Output[Dataset]) -> bool:
    return bool(parts)


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def train(data: Input[Artifact], model: Output[Model], lr: float = 0.1): ...  # type: ignore[no-untyped-def]


@dsl.component(base_image=DATA, install_kfp_package=False)
def refuse(why: str): ...  # type: ignore[no-untyped-def]


@dsl.component(base_image=DATA, install_kfp_package=False)
def farewell(status: dsl.PipelineTaskFinalStatus, source: str): ...  # type: ignore[no-untyped-def]


@dsl.component(base_image=DATA, install_kfp_package=False)
def use(model: Input[Model], note: str = ""): ...  # type: ignore[no-untyped-def]


def compile_toy(path: Path, name: str = "cavmae-retrain") -> Path:
    """Compile it to `path`."""

    @dsl.pipeline(name=name, description="A toy.")
    def toy(  # type: ignore[no-untyped-def]
        source: str,
        parts: int = 3,
        lr: float = 0.5,
        fast: bool = True,
        items: list = [1],  # noqa: B006 - kfp wants the default itself
        extra: dict = {},  # noqa: B006
        source_version: str = "",
        model: str = "",
        secret: str = "s3",
    ):
        end = farewell(source=source)
        with dsl.ExitHandler(end, name="run"):
            made = make(parts=parts)
            with dsl.ParallelFor(made.outputs["Output"], parallelism=2) as part:
                worked = work(part=part, data=made.outputs["out"])
            joined = join(
                parts=dsl.Collected(worked.outputs["Output"]),  # type: ignore[arg-type]
                sets=dsl.Collected(worked.outputs["made"]),  # type: ignore[arg-type]
            )
            with dsl.If(joined.outputs["Output"] == True):  # noqa: E712 - kfp reads the comparison
                one = train(data=joined.outputs["out"], lr=lr)
                one.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1).set_retry(2)
                kubernetes.use_secret_as_env(one, secret_name=secret, secret_key_to_env={"a": "A"})
            with dsl.Else():
                two = train(data=made.outputs["out"])
                refuse(why=f"{source} is not good enough")
            best = dsl.OneOf(one.outputs["model"], two.outputs["model"])
            given = dsl.importer(artifact_uri=model, artifact_class=Model, reimport=False)
            use(model=best).after(given)
            use(model=given.output, note="given")

    compiler.Compiler().compile(toy, str(path))
    return path
