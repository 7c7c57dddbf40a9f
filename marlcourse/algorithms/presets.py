"""Published settings of every algorithm: {preset: {setting: (value, source)}}. A setting that is not named keeps its default.

``QMIX.Config.preset("pymarl")`` makes a config of them, ``QMIX.Config.sources("pymarl")`` tells where each number stands.
"""

from __future__ import annotations

import torch

from ..exploration import Schedule, constant

Adam, RMSprop = torch.optim.Adam, torch.optim.RMSprop

PYMARL = "oxwhirl/pymarl, src/config/default.yaml and algs/qmix.yaml"
PYMARL2 = "hijkzzz/pymarl2, src/config/algs/qmix.yaml"
EPYMARL = "uoe-agents/epymarl, src/config/algs/qmix.yaml (which also standardises rewards; here they stay as they are)"
IQL_EPYMARL = "uoe-agents/epymarl, src/config/algs/iql.yaml (which also standardises rewards; here they stay as they are)"
OURS = "marlcourse: a one-step table or a two-step tree needs neither memory, nor a large buffer, nor small steps"
WQMIX = "oxwhirl/wqmix, src/config/algs/{ow,cw}_qmix.yaml"
WQMIX_PYMARL2 = "hijkzzz/pymarl2, src/config/algs/{ow,cw}_qmix.yaml"
QTRAN_YAML = "oxwhirl/pymarl, src/config/algs/qtran.yaml"
COMA_PYMARL = "oxwhirl/pymarl, src/config/algs/coma.yaml"
COMA_EPYMARL = "uoe-agents/epymarl, src/config/algs/coma.yaml"
RELEASE = "mzho7212/LICA, src/config/algs/lica.yaml"
JUNCTION = "mzho7212/LICA, one-step traffic junction"
ONE_STEP = "one step has no future: the reward is the whole return at any gamma"

QMIX = {
    "pymarl": {
        "gamma": (0.99, PYMARL),
        "lr": (5e-4, PYMARL),
        "optimizer": (RMSprop, PYMARL),
        "grad_clip": (10.0, PYMARL),
        "hidden": (64, PYMARL),
        "embed": (32, PYMARL),
        "hypernet_layers": (2, PYMARL),
        "epsilon": (Schedule(1.0, 0.05, 50_000), PYMARL),
        "replay_episodes": (5000, PYMARL),
        "batch_size": (32, PYMARL),
        "target_every": (200, PYMARL + " (there in episodes; one update per episode makes it updates)"),
    },
    "pymarl2": {
        "lam": (0.6, PYMARL2),
        "lr": (1e-3, PYMARL2),
        "optimizer": (Adam, PYMARL2),
        "epsilon": (Schedule(1.0, 0.05, 100_000), PYMARL2),
        "batch_size": (128, PYMARL2),
    },
    "epymarl": {
        "lr": (5e-4, EPYMARL),
        "optimizer": (Adam, EPYMARL),
        "recurrent": (False, EPYMARL),
        "last_action": (False, EPYMARL),
        "epsilon": (Schedule(1.0, 0.05, 50_000), EPYMARL),
        "batch_size": (32, EPYMARL),
    },
    "two-step": {
        "gamma": (0.99, "Rashid et al. 2018, appendix on the two-step game"),
        "epsilon": (
            Schedule(1.0, 1.0, 0),
            "Rashid et al. 2018: epsilon = 1 throughout, so that all data are uniform",
        ),
        "recurrent": (False, OURS),
        "last_action": (False, OURS),
        "optimizer": (Adam, OURS),
        "lr": (5e-3, OURS),
        "hypernet_layers": (2, OURS),
        "replay_episodes": (512, OURS),
        "batch_size": (64, OURS),
        "target_every": (25, OURS),
    },
    "matrix": {
        "epsilon": (
            Schedule(1.0, 1.0, 0),
            "Son et al. 2019 (QTRAN), section 5.1: a uniform policy gives full exploration",
        ),
        "recurrent": (False, OURS),
        "last_action": (False, OURS),
        "optimizer": (Adam, OURS),
        "lr": (5e-3, OURS),
        "hidden": (32, OURS),
        "updates_per_collect": (2, OURS),
        "replay_episodes": (2048, OURS),
        "batch_size": (256, OURS),
        "target_every": (25, OURS),
    },
}

IQL = {
    **QMIX,
    "epymarl": {
        "lr": (3e-4, IQL_EPYMARL),
        "optimizer": (Adam, IQL_EPYMARL),
        "recurrent": (True, IQL_EPYMARL),
        "hidden": (128, IQL_EPYMARL),
        "epsilon": (Schedule(1.0, 0.05, 200_000), IQL_EPYMARL),
        "batch_size": (32, IQL_EPYMARL),
    },
}

WQMIX = {
    "wqmix": {
        "alpha": (0.1, WQMIX),
        "lr": (5e-4, WQMIX),
        "optimizer": (RMSprop, WQMIX),
        "epsilon": (Schedule(1.0, 0.05, 50_000), WQMIX),
        "batch_size": (32, WQMIX),
        "central_hidden": (256, WQMIX),
        "central_loss": (1.0, WQMIX),
    },
    "pymarl2": {
        "lam": (0.6, WQMIX_PYMARL2),
        "lr": (1e-3, WQMIX_PYMARL2),
        "optimizer": (Adam, WQMIX_PYMARL2),
        "epsilon": (Schedule(1.0, 0.05, 100_000), WQMIX_PYMARL2),
        "batch_size": (128, WQMIX_PYMARL2),
        "central_loss": (0.5, WQMIX_PYMARL2),
    },
    "two-step": {**QMIX["two-step"], "alpha": (0.1, WQMIX), "central_hidden": (64, OURS)},
    "matrix": {**QMIX["matrix"], "alpha": (0.1, WQMIX), "central_hidden": (64, OURS)},
}

QTRAN = {
    "pymarl": {
        **{k: v for k, v in QMIX["pymarl"].items() if k not in ("embed", "hypernet_layers")},
        "lambda_opt": (1.0, QTRAN_YAML),
        "lambda_nopt": (0.1, QTRAN_YAML),
        "joint_hidden": (64, QTRAN_YAML),
    },
    "two-step": {
        **QMIX["two-step"],
        "lambda_opt": (1.0, QTRAN_YAML),
        "lambda_nopt": (0.1, QTRAN_YAML),
    },
    "matrix": {
        **QMIX["matrix"],
        "lambda_opt": (1.0, QTRAN_YAML),
        "lambda_nopt": (0.1, QTRAN_YAML),
        "lr": (2e-3, "marlcourse: at 5e-3 the joint critic's units die on some seeds, and it fits a sum"),
        "joint_hidden": (128, "marlcourse: as lr"),
    },
}

COMA = {
    "pymarl": {
        "gamma": (0.99, COMA_PYMARL),
        "lam": (0.8, COMA_PYMARL),
        "lr": (5e-4, COMA_PYMARL),
        "critic_lr": (5e-4, COMA_PYMARL),
        "optimizer": (RMSprop, COMA_PYMARL),
        "critic_hidden": (128, COMA_PYMARL),
        "epsilon": (Schedule(0.5, 0.01, 100_000), COMA_PYMARL),
        "target_every": (200, COMA_PYMARL),
    },
    "epymarl": {
        "lr": (3e-4, COMA_EPYMARL),
        "critic_lr": (3e-4, COMA_EPYMARL),
        "optimizer": (Adam, COMA_EPYMARL),
        "epsilon": (constant(0.0), COMA_EPYMARL),
        "entropy": (0.001, COMA_EPYMARL),
    },
    "junction": {
        "gamma": (0.0, ONE_STEP),
        "lr": (1e-2, JUNCTION),
        "critic_lr": (2e-2, JUNCTION),
        "optimizer": (Adam, JUNCTION),
        "hidden": (32, JUNCTION),
        "critic_hidden": (32, JUNCTION),
        "recurrent": (False, JUNCTION),
        "last_action": (False, JUNCTION),
        "epsilon": (constant(0.0), JUNCTION),
        "critic_updates": (5, JUNCTION),
        "grad_clip": (None, JUNCTION),
        "target_every": (1, OURS),
    },
}

LICA = {
    "lica": {
        "gamma": (0.99, RELEASE),
        "lam": (0.8, RELEASE),
        "lr": (2.5e-3, RELEASE),
        "critic_lr": (5e-4, RELEASE),
        "optimizer": (Adam, RELEASE),
        "grad_clip": (10.0, RELEASE),
        "xi": (0.06, RELEASE),
        "target_every": (200, RELEASE),
    },
    "junction": {
        "gamma": (0.0, ONE_STEP),
        "lr": (1e-2, JUNCTION),
        "critic_lr": (2e-2, JUNCTION),
        "optimizer": (Adam, JUNCTION),
        "grad_clip": (None, JUNCTION),
        "recurrent": (False, JUNCTION),
        "last_action": (False, JUNCTION),
        "xi": (0.0, JUNCTION + ": it has no entropy term"),
        "critic_updates": (5, JUNCTION),
    },
}
