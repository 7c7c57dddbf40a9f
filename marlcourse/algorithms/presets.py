"""Published settings of every algorithm: {preset: {setting: (value, source)}}. A setting that is not named keeps its default.

``QMIX.Config.preset("pymarl")`` makes a config of them, ``QMIX.Config.sources("pymarl")`` tells where each number stands.
"""

from __future__ import annotations

import torch

from ..exploration import Schedule, constant

Adam, RMSprop = torch.optim.Adam, torch.optim.RMSprop

PYMARL = "oxwhirl/pymarl, src/config/default.yaml and algs/qmix.yaml"
PYMARL2 = "hijkzzz/pymarl2, src/config/algs/qmix.yaml"
PYMARL2_README = "hijkzzz/pymarl2, README: the command for 6h_vs_8z; also the comments of src/config/algs/qmix.yaml"
ONE_LAYER = "Zhao et al. 2022 (arXiv:2202.04427), section 3.2, of QMIX: each hypernetwork is a single linear layer"
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
GRE = "sgzZ123/GRE, src/config/algs/qmix_GRE.yaml (the rest: PyMARL's defaults, as section 5.1 of the paper says)"
GRE_README = "sgzZ123/GRE, README: the command for 3s5z"
GRE_SEARCH = "Zhao et al. 2022, caption of Figure 8: chosen per map from 1e-3, 5e-4, 1e-4"
SIMPLE = "sgzZ123/GRE, src/config/algs/qmix_simple.yaml (the rest: PyMARL's defaults, as section 5.1 of the paper says)"
MNMPG_PAPER = "Shao et al. 2021 (arXiv:2102.12957), section 4"
MNMPG_RELEASE = "qyz55/MNMPG, src/config/algs/qmix_smac_hierarchical.yaml and default.yaml"
ONE_STEP = "one step has no future: the reward is the whole return at any gamma"

QMIX = {
    "pymarl": {
        "gamma": (0.99, PYMARL),
        "lr": (5e-4, PYMARL),
        "optimizer": (RMSprop, PYMARL),
        "grad_clip": (10.0, PYMARL),
        "hidden": (64, PYMARL),
        "last_action": (True, PYMARL),
        "double_q": (True, PYMARL),
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
        "embed": (32, PYMARL2),
        "replay_episodes": (5000, PYMARL2),
        "batch_size": (128, PYMARL2),
        "target_every": (200, PYMARL2 + " (there in episodes)"),
    },
    "epymarl": {
        "lr": (5e-4, EPYMARL),
        "optimizer": (Adam, EPYMARL),
        "recurrent": (False, EPYMARL),
        "last_action": (False, EPYMARL),
        "double_q": (True, EPYMARL),
        "embed": (32, EPYMARL),
        "hypernet_layers": (2, EPYMARL),
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

QMIX["pymarl2-6h_vs_8z"] = {
    **QMIX["pymarl2"],
    "lam": (0.3, PYMARL2_README),
    "epsilon": (Schedule(1.0, 0.05, 500_000), PYMARL2_README),
}
QMIX["one-layer"] = {**QMIX["pymarl"], "hypernet_layers": (1, ONE_LAYER)}

_RELEASED = ("epsilon", "replay_episodes", "target_every", "double_q", "embed", "hypernet_layers")  # named in its yaml files

QMIX_SIMPLE = {**QMIX, "gre": {**QMIX["pymarl"], **{k: (QMIX["pymarl"][k][0], SIMPLE) for k in _RELEASED}}}

QMIX_GRE = {name: {**settings, "entropy_weight": (1e-3, GRE)} for name, settings in QMIX_SIMPLE.items()}
QMIX_GRE["gre"] |= {k: (QMIX["pymarl"][k][0], GRE) for k in _RELEASED}
QMIX_GRE["gre-5e-4"] = {**QMIX_GRE["gre"], "entropy_weight": (5e-4, GRE_SEARCH)}
QMIX_GRE["gre-3s5z"] = {**QMIX_GRE["gre"], "entropy_weight": (1e-4, GRE_README)}

IQL = {
    **{k: v for k, v in QMIX.items() if k != "one-layer"},
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
        **{k: v for k, v in QMIX["pymarl"].items() if k not in ("embed", "hypernet_layers", "double_q")},
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

MNMPG = {
    "paper": {
        "lr": (5e-4, MNMPG_PAPER),
        "optimizer": (RMSprop, MNMPG_PAPER + " (alpha 0.99)"),
        "epsilon": (Schedule(1.0, 0.05, 50_000), MNMPG_PAPER + "; 500k steps on 27m_vs_30m, 6h_vs_8z, 3s5z_vs_3s6z"),
        "batch_size": (32, MNMPG_PAPER),
        "z_dim": (3, MNMPG_PAPER + ".4"),
        "meta_interval": (500, MNMPG_PAPER + ".4"),
        "meta_lr": (5e-5, MNMPG_RELEASE + " (the paper gives none)"),
    },
    "release": {
        "gamma": (0.99, MNMPG_RELEASE),
        "lr": (5e-4, MNMPG_RELEASE),
        "optimizer": (RMSprop, MNMPG_RELEASE),
        "grad_clip": (10.0, MNMPG_RELEASE),
        "hidden": (64, MNMPG_RELEASE),
        "embed": (32, MNMPG_RELEASE),
        "hypernet_layers": (2, MNMPG_RELEASE),
        "epsilon": (Schedule(1.0, 0.05, 50_000), MNMPG_RELEASE),
        "replay_episodes": (5000, MNMPG_RELEASE),
        "batch_size": (32, MNMPG_RELEASE),
        "z_dim": (3, MNMPG_RELEASE + ": latent_dim"),
        "encoder_hidden": (16, MNMPG_RELEASE + ": NN_HIDDEN_SIZE"),
        "meta_lr": (5e-5, MNMPG_RELEASE),
        "meta_interval": (1000, MNMPG_RELEASE + ": meta_h_interval"),
        "meta_episodes": (32, "qyz55/MNMPG, src/run.py: batch_size // batch_size_run rounds of batch_size_run worlds"),
        "exercise_updates": (4, "qyz55/MNMPG, src/run.py: batch_size // batch_size_run = 32 // 8"),
        "pair_episodes": (True, "qyz55/MNMPG, src/learners/hierarchical_q_learner.py: train_meta"),
        "return_per_step": (True, MNMPG_RELEASE + ": use_step_reward"),
    },
    "two-step": {**QMIX["two-step"], "z_dim": (3, MNMPG_PAPER + ".4"), "meta_lr": (5e-5, MNMPG_RELEASE)},
}
