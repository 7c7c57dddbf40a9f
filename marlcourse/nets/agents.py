"""Networks of one agent, shared by the team: what it sees (and saw) in, one number per own action out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core import EnvSpec


class InputLayer(nn.Module):
    """Linear layer on [obs, one-hot last action, one-hot agent id]; both one-hots come as one row of a constant table.

    obs [...,N,O], last_action [...,N] long (-1: none yet, a row of zeros) -> [...,N,H].
    """

    def __init__(self, spec: EnvSpec, hidden: int, last_action: bool = True, agent_id: bool = True):
        super().__init__()
        a, n = self.n_actions, self.n_agents = spec.n_actions, spec.n_agents
        of_action, of_id = torch.eye(1 + a)[:, 1:].repeat_interleave(n, 0), torch.eye(n).repeat(1 + a, 1)
        one_hots = torch.cat([of_action[:, : a * last_action], of_id[:, : n * agent_id]], 1)
        self.register_buffer("one_hots", one_hots, persistent=False)  # row (1 + last action) * N + agent
        self.register_buffer("first_row", torch.arange(n) + n, persistent=False)
        self.linear = nn.Linear(spec.obs_dim + one_hots.shape[1], hidden)

    def forward(self, obs: Tensor, last_action: Tensor) -> Tensor:
        row = torch.add(self.first_row, last_action, alpha=self.n_agents)
        return self.linear.forward(torch.cat([obs, torch.embedding(self.one_hots, row)], -1))


class GRUSequence(torch.autograd.Function):
    """A GRU and its adjoint, written out: x [T,R,I], h_0 [R,H] -> h_1, ..., h_T [T,R,H].

        r, z = sigmoid(W x_t + b + U h_{t-1} + c)      by those rows of W, U, b, c (3H rows: r, z, n)
        m    = U h_{t-1} + c                           by the rows of n, here and in the next line
        n    = tanh(W x_t + b + r m)
        h_t  = n + z (h_{t-1} - n)

    Backward, G_t is the whole dL/dh_t, and its factors are known for all t at once:

        dn = G_t (1 - z) (1 - n^2)     dm = dn r     dr = dn m r (1 - r)     dz = G_t (h_{t-1} - n) z (1 - z)
        G_{t-1} = (dL/dh_{t-1} from outside) + G_t z + [dr dz dm] U
        dU = sum_t [dr dz dm]' h_{t-1}     dW = sum_t [dr dz dn]' x_t     dx_t = [dr dz dn] W
    """

    @staticmethod
    def forward(ctx, x: Tensor, start: Tensor, w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> Tensor:
        width = start.shape[1]
        twice = torch.cat([x.new_ones(2 * width), x.new_full((width,), 2.0)])  # tanh(a) = 2 sigmoid(2a) - 1, quicker here
        (u_rz, u_n), (c_rz, c_n) = (y.split([2 * width, width], -1) for y in (u.t(), c))
        of_x, bias = w.t() * twice, (b + torch.cat([c_rz, torch.zeros_like(c_n)])) * twice
        gates, h = x.new_empty(*x.shape[:2], 3 * width), x.new_empty(len(x) + 1, *start.shape)  # [T,R,3H], [T+1,R,H]
        (r, z, n), rz, m = gates.chunk(3, -1), gates[..., : 2 * width], c_n.repeat(*x.shape[:2], 1)  # in the end r, z, n
        h[0], before, minus_one = start, start, -x.new_ones(())
        for t, (after, rz_t, r_t, z_t, n_t, m_t) in enumerate(zip(h[1:], rz, r, z, n, m)):
            if t % 8 == 0:  # the part of x for some steps at a time: what the next lines read is still in the cache
                torch.addmm(bias, x[t : t + 8].flatten(0, 1), of_x, out=gates[t : t + 8].flatten(0, 1))
            rz_t.addmm_(before, u_rz).sigmoid_()
            n_t.addcmul_(r_t, m_t.addmm_(before, u_n), value=2).sigmoid_()
            torch.add(minus_one, n_t, alpha=2, out=n_t)
            before = torch.lerp(n_t, before, z_t, out=after)
        ctx.save_for_backward(x, w, u, gates, m, h)
        return h[1:]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("This GRU has one derivative on a CPU, as on a GPU: for a second one use torch's nn.GRU.")
        x, w, u, gates, m, h = ctx.saved_tensors
        (r, z, n), d = gates.chunk(3, -1), torch.empty_like(gates)  # d: the factors of dr, dz, dm, then these
        dr, dz, dm = d.chunk(3, -1)
        to_n = torch.ops.aten.tanh_backward(1 - z, n)  # (1 - z) (1 - n^2)
        torch.ops.aten.sigmoid_backward(to_n * m, r, grad_input=dr)
        torch.ops.aten.sigmoid_backward(h[:-1] - n, z, grad_input=dz)
        torch.mul(to_n, r, out=dm)
        g = torch.cat([torch.zeros_like(h[:1]), grad])  # [T+1,R,H]
        steps = zip(g, g[1:], g[1:].unsqueeze(2), z, d, d.unflatten(-1, (3, -1)))
        for before, after, after_3, z_t, d_t, d_3 in reversed(list(steps)):
            d_3.mul_(after_3)  # [R,3,H] *= [R,1,H]
            before.addcmul_(after, z_t).addmm_(d_t, u)
        d = d.flatten(0, 1)
        du, dc = d.t() @ h[:-1].flatten(0, 1), d.sum(0)
        torch.mul(g[1:], to_n, out=dm)  # d is [dr dz dn] from here on
        return (d @ w).view_as(x), g[0], d.t() @ x.flatten(0, 1), du, torch.cat([dc[: -h.shape[-1]], dm.sum((0, 1))]), dc


class GRU(nn.GRU):
    """nn.GRU: x [T,R,I], h [1,R,H] -> [T,R,H], [1,R,H]. On a CPU one layer runs as :class:`GRUSequence`, a Python loop over T
    where the design asks for the fused kernel: that one takes about 40 operators a step for a loss, this one 10."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        usual = all(torch.is_tensor(y) and (y.device.type, y.dtype) == ("cpu", self.weight_hh_l0.dtype) for y in (x, h))
        usual = usual and len(self._flat_weights) == 4 and not self.batch_first and x.numel() > 0
        usual = usual and (h.shape, x.shape[2:]) == ((1, *x.shape[1:2], self.hidden_size), (self.input_size,))
        if not usual or torch._C._are_functorch_transforms_active():
            return super().forward(x, h)  # a GPU, torch.func, another kind or shape
        out = GRUSequence.apply(x, h[0], *self._flat_weights)
        return out, out[-1:]


class RecurrentAgent(nn.Module):
    """Linear - ReLU - GRU - Linear, as in PyMARL: a DRQN, or a policy with memory.

    obs [B,T,N,O], last_action [B,T,N], hidden [B,N,H] -> values [B,T,N,A], hidden after the last step [B,N,H].
    ``encode`` stops before the last layer, ``head`` is that layer.
    """

    def __init__(self, spec: EnvSpec, hidden: int = 64, last_action: bool = True, agent_id: bool = True):
        super().__init__()
        self.hidden = hidden
        self.fc1 = InputLayer(spec, hidden, last_action, agent_id)
        self.gru = GRU(hidden, hidden)
        self.head = nn.Linear(hidden, spec.n_actions)

    def initial_hidden(self, batch_size: int, n_agents: int) -> Tensor:
        return torch.zeros(batch_size, n_agents, self.hidden, device=self.head.weight.device)

    def encode(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        b, t, n, _ = obs.shape
        x = self.fc1(obs.transpose(0, 1), last_action.transpose(0, 1)).relu_().flatten(1, 2)
        out, h = self.gru(x, hidden.reshape(1, b * n, -1))  # [T,B*N,H]
        return out.view(t, b, n, -1).transpose(0, 1), h.view(b, n, -1)

    def step(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step without a time axis, as bare as it gets: a GRU cell is cheaper than the fused sequence kernel."""
        b, n, width = hidden.shape
        x = self.fc1.forward(obs, last_action).relu_().view(b * n, width)
        h = torch.gru_cell(x, hidden.reshape(b * n, width), *self.gru._flat_weights)
        return self.head.forward(h).view(b, n, -1), h.view(b, n, width)

    def forward(self, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        features, hidden = self.encode(obs, last_action, hidden)
        return self.head(features.transpose(0, 1)).transpose(0, 1), hidden  # time-major, as the GRU left them: no copy


def one_step(agent: nn.Module, obs: Tensor, last_action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """For acting, obs [B,N,O] -> values [B,N,A]: the agent's own ``step``, or a sequence of one step."""
    if hasattr(agent, "step"):
        return agent.step(obs, last_action, hidden)
    values, hidden = agent(obs.unsqueeze(1), last_action.unsqueeze(1), hidden)
    return values.squeeze(1), hidden


def previous_actions(actions: Tensor, first: Tensor) -> Tensor:
    """actions [B,T,N], first [B,N] (the action before the row, -1 at a reset) -> last_action [B,T+1,N]."""
    return torch.cat([first.unsqueeze(1), actions], 1)
