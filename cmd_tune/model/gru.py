"""G independent GRUs of one shape over whole sequences: one batched product a frame, backward by hand.

Autograd would record a dozen operations a frame; here it records one a layer. Input products are taken for all frames
at once, weight gradients as two large products after the loop. The gate equations are PyTorch's
(torch.nn.GRU), gates in the order r, z, n.
G group, T frame, B sample, I input, H hidden.
"""

import torch


class GroupedGRU(torch.autograd.Function):
    """(x_GTBI, weight_ih_G3HI, weight_hh_G3HH, bias_ih_G3H, bias_hh_G3H) → hidden states of all frames (G, T, B, H).

    The hidden state starts at 0. All tensors have one dtype, the result too.
    """

    @staticmethod
    def forward(ctx, x_GTBI, weight_ih, weight_hh, bias_ih, bias_hh):  # type: ignore[no-untyped-def]
        G, T, B, I = x_GTBI.shape
        H = weight_hh.shape[2]
        gates_GTB3H = torch.baddbmm(bias_ih[:, None], x_GTBI.reshape(G, T * B, I), weight_ih.transpose(1, 2))
        gates_GTB3H = gates_GTB3H.view(G, T, B, 3 * H)
        weight_hh_t, bias_hh = weight_hh.transpose(1, 2).contiguous(), bias_hh[:, None]
        hidden_GTBH = x_GTBI.new_empty(G, T, B, H)
        recurrent_n_GTBH = x_GTBI.new_empty(G, T, B, H) if any(ctx.needs_input_grad) else None
        h = x_GTBI.new_zeros(G, B, H)
        for t in range(T):
            recurrent = torch.baddbmm(bias_hh, h, weight_hh_t)
            gates = gates_GTB3H[:, t]
            rz = gates[..., : 2 * H].add_(recurrent[..., : 2 * H]).sigmoid_()
            n = gates[..., 2 * H :].addcmul_(rz[..., :H], recurrent[..., 2 * H :]).tanh_()
            h = torch.lerp(n, h, rz[..., H:])
            hidden_GTBH[:, t] = h
            if recurrent_n_GTBH is not None:
                recurrent_n_GTBH[:, t] = recurrent[..., 2 * H :]
        ctx.save_for_backward(x_GTBI, weight_ih, weight_hh, gates_GTB3H, recurrent_n_GTBH, hidden_GTBH)
        return hidden_GTBH

    @staticmethod
    def backward(ctx, grad_GTBH):  # type: ignore[no-untyped-def]
        x_GTBI, weight_ih, weight_hh, gates_GTB3H, recurrent_n_GTBH, hidden_GTBH = ctx.saved_tensors
        G, T, B, I = x_GTBI.shape
        H = weight_hh.shape[2]
        r, z, n = gates_GTB3H.split(H, dim=3)
        before_GTBH = torch.cat((torch.zeros_like(hidden_GTBH[:, :1]), hidden_GTBH[:, :-1]), dim=1)
        grad_recurrent = torch.empty_like(gates_GTB3H)
        grad_n_GTBH = torch.empty_like(hidden_GTBH)
        grad_h = torch.zeros_like(hidden_GTBH[:, 0])
        for t in range(T - 1, -1, -1):
            grad_h = grad_h + grad_GTBH[:, t]
            rt, zt, nt = r[:, t], z[:, t], n[:, t]
            grad_n = grad_h * (1 - zt) * (1 - nt * nt)
            grad = grad_recurrent[:, t]
            grad[..., :H] = grad_n * recurrent_n_GTBH[:, t] * rt * (1 - rt)
            grad[..., H : 2 * H] = grad_h * (before_GTBH[:, t] - nt) * zt * (1 - zt)
            grad[..., 2 * H :] = grad_n * rt
            grad_n_GTBH[:, t] = grad_n
            grad_h = torch.baddbmm(grad_h * zt, grad, weight_hh)
        grad_recurrent = grad_recurrent.view(G, T * B, 3 * H)
        grad_weight_hh = torch.bmm(grad_recurrent.transpose(1, 2), before_GTBH.view(G, T * B, H))
        grad_bias_hh = grad_recurrent.sum(1)
        grad_recurrent[..., 2 * H :] = grad_n_GTBH.view(G, T * B, H)
        grad_input = grad_recurrent
        grad_weight_ih = torch.bmm(grad_input.transpose(1, 2), x_GTBI.reshape(G, T * B, I))
        grad_x = torch.bmm(grad_input, weight_ih).view(x_GTBI.shape) if ctx.needs_input_grad[0] else None
        return grad_x, grad_weight_ih, grad_weight_hh, grad_input.sum(1), grad_bias_hh
