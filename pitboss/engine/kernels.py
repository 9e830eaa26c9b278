"""Triton kernels of the fast path: attention to shared prefixes, attention to own tokens, patches.

Each request's arithmetic is its own, in an order that depends on its own lengths alone, so that its
bits do not depend on its slot or its neighbours. Scores, softmax and patches are in float32.
"""

import triton
import triton.language as tl


@triton.jit
def _capped(scores, softcap, HAS_CAP: tl.constexpr):
    if HAS_CAP:
        scores = softcap * _tanh(scores / softcap)
    return scores


@triton.jit
def _tanh(x):
    """tanh to float32's precision everywhere.

    1 − 2 / (e^2x + 1) is right at both infinities, but near 0 it is the difference of two numbers
    near 1: it has their absolute error, which a soft cap of 50 makes 6e-6 of a score. Below 1/2 a
    polynomial is taken instead, x + x³·p(x²) with p of the least largest relative error, 1.5e-8.
    """
    square = x * x
    p = -0.33333144 + square * (0.13325879 + square * (-0.05304549 + square * 0.01724148))
    far = 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)
    return tl.where(square < 0.25, x + x * square * p, far)


@triton.jit
def _absorb(top, total, acc, scores, values, PRECISION: tl.constexpr):
    """One block of keys into a running softmax: maximum, sum of weights, weighted values."""
    new_top = tl.maximum(top, tl.max(scores, 1))
    safe = tl.where(new_top == float("-inf"), 0.0, new_top)
    weight = tl.exp(scores - safe[:, None])
    shrink = tl.exp(top - safe)
    total = total * shrink + tl.sum(weight, 1)
    acc = acc * shrink[:, None]
    acc = tl.dot(weight.to(values.dtype), values, acc, input_precision=PRECISION)
    return new_top, total, acc


@triton.jit
def prefix_attention(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    order_ptr, tile_prefix_slot_ptr, tile_start_ptr, tile_size_ptr, length_ptr, position_ptr,
    capacity, scale, softcap, window,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, GROUP_PAD: tl.constexpr, DIM: tl.constexpr,
    SLOTS: tl.constexpr, BLOCK: tl.constexpr,
    HAS_CAP: tl.constexpr, HAS_WINDOW: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of slots that share a prompt, one key head: their queries against its prefix.

    `order` lists the slots prompt by prompt; a tile is a stretch of it. out is [slots, heads, DIM],
    lse float32 [slots, heads]; a prompt of one token has an empty prefix and lse −inf.
    """
    tile, kv = tl.program_id(0), tl.program_id(1)
    size = tl.load(tile_size_ptr + tile)
    if size == 0:
        return
    prefix_slot = tl.load(tile_prefix_slot_ptr + tile).to(tl.int64)
    start = tl.load(tile_start_ptr + tile)
    m = tl.arange(0, SLOTS * GROUP_PAD)
    d = tl.arange(0, DIM)
    member, head = m // GROUP_PAD, m % GROUP_PAD
    ok = (member < size) & (head < GROUP)
    slot = tl.load(order_ptr + start + member, mask=ok, other=0).to(tl.int64)
    at = slot * (KV_HEADS * GROUP) + kv * GROUP + head
    q = tl.load(q_ptr + at[:, None] * DIM + d[None, :], mask=ok[:, None], other=0.0)
    position = tl.load(position_ptr + slot, mask=ok, other=0)
    length = tl.load(length_ptr + prefix_slot).to(tl.int32)
    base = (prefix_slot * KV_HEADS + kv) * capacity * DIM
    top = tl.full([SLOTS * GROUP_PAD], float("-inf"), tl.float32)
    total = tl.zeros([SLOTS * GROUP_PAD], tl.float32)
    acc = tl.zeros([SLOTS * GROUP_PAD, DIM], tl.float32)
    for first in range(0, length, BLOCK):
        n = first + tl.arange(0, BLOCK)
        there = n < length
        where_kv = base + n[:, None] * DIM + d[None, :]
        k = tl.load(k_ptr + where_kv, mask=there[:, None], other=0.0)
        v = tl.load(v_ptr + where_kv, mask=there[:, None], other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = _capped(scores, softcap, HAS_CAP)
        visible = there[None, :]
        if HAS_WINDOW:
            visible = visible & (position[:, None] - n[None, :] < window)
        scores = tl.where(visible, scores, float("-inf"))
        top, total, acc = _absorb(top, total, acc, scores, v, PRECISION)
    share = acc / tl.where(total == 0.0, 1.0, total)[:, None]
    tl.store(
        out_ptr + at[:, None] * DIM + d[None, :],
        share.to(out_ptr.dtype.element_ty),
        mask=ok[:, None],
    )
    tl.store(lse_ptr + at, top + tl.log(total), mask=ok)


@triton.jit
def own_attention(
    q_ptr, k_ptr, v_ptr, own_k_ptr, own_v_ptr, prefix_k_ptr, prefix_v_ptr, out_ptr, lse_ptr,
    mixed_ptr, prefix_slot_ptr, length_ptr, position_ptr, step_ptr,
    v_stride, own_capacity, prefix_capacity, scale, softcap, window,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, GROUP_PAD: tl.constexpr, DIM: tl.constexpr,
    BLOCK: tl.constexpr, KEEP: tl.constexpr, SHARED: tl.constexpr,
    HAS_CAP: tl.constexpr, HAS_WINDOW: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One slot, one key head: keep the new key and value, attend to all own ones, merge the prefix.

    With SHARED the prefix's part comes from `prefix_attention` as (out, lse); else the slot reads
    its own prompt's keys here. Without KEEP there is no token but the present one.
    """
    slot, kv = tl.program_id(0).to(tl.int64), tl.program_id(1)
    step = tl.load(step_ptr + slot).to(tl.int32)
    head, d = tl.arange(0, GROUP_PAD), tl.arange(0, DIM)
    ok = head < GROUP
    at = slot * (KV_HEADS * GROUP) + kv * GROUP + head
    q = tl.load(q_ptr + at[:, None] * DIM + d[None, :], mask=ok[:, None], other=0.0)
    k_new = tl.load(k_ptr + (slot * KV_HEADS + kv) * DIM + d)
    v_new = tl.load(v_ptr + slot * v_stride + kv * DIM + d)
    # The present token is taken from registers: what is stored here is read at later steps only.
    score = tl.sum(q.to(tl.float32) * k_new.to(tl.float32)[None, :], 1) * scale
    score = _capped(score, softcap, HAS_CAP)
    if SHARED:
        # The prefix's part comes first, so that all loads above the loop are under way at once.
        lse = tl.load(lse_ptr + at, mask=ok, other=float("-inf"))
        out = tl.load(out_ptr + at[:, None] * DIM + d[None, :], mask=ok[:, None], other=0.0)
        top = tl.maximum(score, lse)
        theirs, mine = tl.exp(lse - top), tl.exp(score - top)
        total = theirs + mine
        acc = out.to(tl.float32) * theirs[:, None] + v_new.to(tl.float32)[None, :] * mine[:, None]
    else:
        top, total = score, tl.full([GROUP_PAD], 1.0, tl.float32)
        acc = tl.zeros([GROUP_PAD, DIM], tl.float32) + v_new.to(tl.float32)[None, :]
    if KEEP:
        base = (slot * KV_HEADS + kv) * own_capacity * DIM
        tl.store(own_k_ptr + base + step * DIM + d, k_new)
        tl.store(own_v_ptr + base + step * DIM + d, v_new)
        for first in range(0, step, BLOCK):
            n = first + tl.arange(0, BLOCK)
            there = n < step
            where_kv = base + n[:, None] * DIM + d[None, :]
            k = tl.load(own_k_ptr + where_kv, mask=there[:, None], other=0.0)
            v = tl.load(own_v_ptr + where_kv, mask=there[:, None], other=0.0)
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
            scores = _capped(scores, softcap, HAS_CAP)
            if HAS_WINDOW:
                there = there & (step - n < window)
            scores = tl.where(there[None, :], scores, float("-inf"))
            top, total, acc = _absorb(top, total, acc, scores, v, PRECISION)
    if not SHARED:
        prefix_slot = tl.load(prefix_slot_ptr + slot).to(tl.int64)
        length = tl.load(length_ptr + prefix_slot).to(tl.int32)
        position = tl.load(position_ptr + slot).to(tl.int32)
        base = (prefix_slot * KV_HEADS + kv) * prefix_capacity * DIM
        for first in range(0, length, BLOCK):
            n = first + tl.arange(0, BLOCK)
            there = n < length
            where_kv = base + n[:, None] * DIM + d[None, :]
            k = tl.load(prefix_k_ptr + where_kv, mask=there[:, None], other=0.0)
            v = tl.load(prefix_v_ptr + where_kv, mask=there[:, None], other=0.0)
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
            scores = _capped(scores, softcap, HAS_CAP)
            if HAS_WINDOW:
                there = there & (position - n < window)
            scores = tl.where(there[None, :], scores, float("-inf"))
            top, total, acc = _absorb(top, total, acc, scores, v, PRECISION)
    mixed = acc / total[:, None]
    tl.store(
        mixed_ptr + at[:, None] * DIM + d[None, :],
        mixed.to(mixed_ptr.dtype.element_ty),
        mask=ok[:, None],
    )


@triton.jit(do_not_specialize=["index"])
def patch_rows(
    x_ptr, index, step_ptr, ints_ptr, floats_ptr, enc_ptr, dec_ptr,
    rows, d_model,
    PATCH_SLOTS: tl.constexpr, INTS: tl.constexpr, FLOATS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row: add the changes of all its delta patches at block `index`; most rows have none.

    ints are int64 [PATCH_SLOTS, INTS, rows] and floats float32 [PATCH_SLOTS, FLOATS, rows], in the
    order of `buffers.PATCH_INTS` and `buffers.PATCH_FLOATS`; enc and dec are float32
    [directions, d_model].
    """
    row = tl.program_id(0).to(tl.int64)
    first_token = tl.load(step_ptr + row) == 0
    live = 0
    for n in tl.static_range(PATCH_SLOTS):
        live += _live(ints_ptr + n * INTS * rows + row, rows, index, first_token)
    if live > 0:
        d = tl.arange(0, BLOCK)
        inside = d < d_model
        x = tl.load(x_ptr + row * d_model + d, mask=inside, other=0.0).to(tl.float32)
        changed = x
        for n in tl.static_range(PATCH_SLOTS):
            here = ints_ptr + n * INTS * rows + row
            if _live(here, rows, index, first_token) > 0:
                numbers = floats_ptr + n * FLOATS * rows + row
                shift, scale = tl.load(numbers), tl.load(numbers + rows)
                bias, threshold = tl.load(numbers + 2 * rows), tl.load(numbers + 3 * rows)
                at = tl.load(here + rows) * d_model + d
                enc = tl.load(enc_ptr + at, mask=inside, other=0.0)
                v = tl.sum(x * enc, 0) + shift
                a = tl.where(v > threshold, tl.maximum(scale * v + bias, 0.0), 0.0)
                a = tl.where(tl.load(here + 5 * rows) != 0, v, a)
                dec = tl.load(dec_ptr + at, mask=inside, other=0.0)
                changed += (tl.load(numbers + 4 * rows) - a) * dec
        tl.store(x_ptr + row * d_model + d, changed.to(x_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _live(here, rows, index, first_token):
    """1 where a patch slot changes the row at this block: a delta that is not to the own value."""
    layer, mode = tl.load(here), tl.load(here + 2 * rows)
    persists, own = tl.load(here + 3 * rows), tl.load(here + 4 * rows)
    return ((layer == index) & (mode == 0) & (own == 0) & ((persists != 0) | first_token)).to(
        tl.int32
    )
