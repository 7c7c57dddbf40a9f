"""The command line: `marlcourse doctor | install | train | evaluate | watch | author`.

Everything is imported by the command that needs it, so that `marlcourse --help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import __version__

__all__ = ["algorithm_class", "main"]


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; a problem the reader can mend is one sentence on stderr, status 2."""
    argv = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if argv[:1] == ["author"]:  # has a parser of its own
        from .course.authoring import main as author

        return author(argv[1:]) or 0
    arguments = build_parser().parse_args(argv)
    from .course.install import InstallError

    try:
        return arguments.run(arguments) or 0
    except (ValueError, TypeError, OSError, ImportError, InstallError, FloatingPointError) as problem:
        print(f"marlcourse: {problem}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="marlcourse", description="Cooperative multi-agent reinforcement learning.")
    parser.add_argument("--version", action="version", version=f"marlcourse {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    doctor = commands.add_parser("doctor", help="say what works here, and which command mends what does not")
    doctor.set_defaults(run=run_doctor)

    install = commands.add_parser("install", help="install what pip alone cannot: ma-gym")
    install.add_argument("what", help="ma-gym")
    install.set_defaults(run=run_install)

    train = commands.add_parser("train", help="train a team")
    train.add_argument("env", help="a world, for instance two-step or matrix/climbing")
    train.add_argument("--algo", default="qmix", help="an algorithm, for instance qmix (default) or vdn")
    train.add_argument("--preset", help="published settings by name; without it the algorithm's defaults")
    train.add_argument("--steps", type=int, default=20_000, help="environment steps, summed over worlds (default 20000)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--num-envs", type=int, default=8, help="worlds played at once (default 8)")
    train.add_argument("--run-dir", type=Path, help="where the run, its checkpoints and its team are kept")
    train.add_argument("--resume", action="store_true", help="go on with the run in --run-dir, up to --steps in total")
    train.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    train.set_defaults(run=run_train)

    evaluate = commands.add_parser("evaluate", help="play a trained team, and print its returns")
    watch = commands.add_parser("watch", help="draw an episode of a trained team as an animation")
    for command in (evaluate, watch):
        command.add_argument("team", type=Path, help="a run folder, or a team file (.pt)")
        command.add_argument("--env", help="the world (default: the one it was trained in)")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--device", default="auto")
    evaluate.add_argument("--episodes", type=int, default=32)
    evaluate.set_defaults(run=run_evaluate)
    watch.add_argument(
        "--out", type=Path, default=Path("episode.gif"), help="a .gif (default episode.gif), or .html with controls"
    )
    watch.set_defaults(run=run_watch)

    commands.add_parser("author", help="make and check chapters (for authors and teachers)", add_help=False)
    return parser


def run_doctor(arguments: argparse.Namespace) -> int:
    from .course.doctor import doctor

    return doctor()


def run_install(arguments: argparse.Namespace) -> None:
    from .course.install import install

    print(install(arguments.what))


def run_train(arguments: argparse.Namespace) -> None:
    import marlcourse as mc

    if arguments.resume and arguments.run_dir is None:
        raise ValueError("--resume needs --run-dir, the folder of the run to go on with.")
    env = mc.make(arguments.env, num_envs=arguments.num_envs, device=arguments.device, seed=arguments.seed)
    if arguments.resume:
        trainer = mc.Trainer.resume(arguments.run_dir, env)
    else:
        algorithm = algorithm_class(arguments.algo)
        config = algorithm.Config.preset(arguments.preset) if arguments.preset else algorithm.Config()
        team = algorithm(env.spec, config, seed=arguments.seed, device=env.device)
        trainer = mc.Trainer(env, team, seed=arguments.seed, run_dir=arguments.run_dir)
    run = trainer.fit(arguments.steps)
    last = run.history[-1]
    print(f"{run.algorithm} on {run.env}: {show(last)} after {last['env_steps']:,} environment steps.")
    if arguments.run_dir:
        mc.save_team(trainer.algorithm, arguments.run_dir / "team.pt")
        print(f"The run and its team are in {arguments.run_dir}: marlcourse evaluate {arguments.run_dir}")


def run_evaluate(arguments: argparse.Namespace) -> None:
    import dataclasses

    import marlcourse as mc

    env, team = world_and_team(arguments)
    result = mc.evaluate(env, team, arguments.episodes, seed=arguments.seed)
    print(f"{type(team).__name__} on {env.spec.name}, {arguments.episodes} episodes: {show(dataclasses.asdict(result))}.")


def run_watch(arguments: argparse.Namespace) -> None:
    import marlcourse as mc

    env, team = world_and_team(arguments)
    kind = "jshtml" if arguments.out.suffix == ".html" else "gif"
    mc.watch(env, team, seed=arguments.seed, kind=kind, path=arguments.out)
    print(f"One episode is in {arguments.out}.")


def world_and_team(arguments: argparse.Namespace):
    """The team of a run folder or a team file, and a world for it."""
    import marlcourse as mc

    team = mc.load_team(arguments.team, device=arguments.device)
    return mc.make(arguments.env or team.spec.name, device=arguments.device, seed=arguments.seed), team


def algorithm_class(name: str):
    """The algorithm of that name; case, hyphens and underscores do not matter. Raises ValueError with close matches."""
    import marlcourse as mc

    from .core import suggest

    known = {public.lower(): public for public, module in mc._MODULE_OF.items() if module.startswith("algorithms.")}
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in known:
        raise ValueError(f"Unknown algorithm {name!r}: {suggest(plain, known)}")
    return getattr(mc, known[plain])


def show(row: dict) -> str:
    """The evaluation's figures in words: `return 7.00 +- 0.00, length 2.0`, and the win rate where there is one."""
    text = f"return {row['return_mean']:.2f} +- {row['return_std']:.2f}, length {row['length_mean']:.1f}"
    return text if row["win_rate"] is None else f"{text}, won {row['win_rate']:.0%}"


if __name__ == "__main__":
    sys.exit(main())
