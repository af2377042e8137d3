"""Rows of small matrices in groups of numbers that one instruction handles.

The compiler makes vector code of long loops; rows of 13 or 25 it leaves to plain ones, and matrices of that size are
half the cost of a likelihood. What is here works on whole groups of 8 or 16: numbers beyond the last are touched too,
so rows have `padded` room, and what stands there must do no harm.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from forecastkit.compiled import kernel

_EIGHT = ir.VectorType(ir.DoubleType(), 8)


@kernel
def padded(r):
    """Width of rows that hold r numbers, shifted by one, in groups of 16."""
    return (r + 1 + 15) // 16 * 16 + 8


def _place(context, builder, kind, value, row, column):
    """Pointer to eight numbers from [row, column] on."""
    array = context.make_array(kind)(context, builder, value)
    index = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), column)
    return builder.bitcast(builder.gep(array.data, [index]), _EIGHT.as_pointer())


def _eight_times(builder, value):
    """A vector with the value in all its places."""
    undefined = ir.Constant(_EIGHT, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8))


@intrinsic
def _add_eight(typingctx, out, i, j, x, k, l, factor):  # noqa: E741
    """out[i, j:j + 8] += factor * x[k, l:l + 8]."""

    def emit(context, builder, signature, values):
        kinds = signature.args
        target = _place(context, builder, kinds[0], values[0], values[1], values[2])
        source = _place(context, builder, kinds[3], values[3], values[4], values[5])
        product = builder.fmul(_eight_times(builder, values[6]), builder.load(source, align=8), flags=("contract",))
        total = builder.fadd(builder.load(target, align=8), product, flags=("contract",))
        builder.store(total, target, align=8)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, x, types.intp, types.intp, types.float64), emit


@intrinsic
def _scale_eight(typingctx, out, i, j, factor):
    """out[i, j:j + 8] *= factor."""

    def emit(context, builder, signature, values):
        target = _place(context, builder, signature.args[0], values[0], values[1], values[2])
        many = _eight_times(builder, values[3])
        builder.store(builder.fmul(many, builder.load(target, align=8)), target, align=8)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, types.float64), emit


@intrinsic
def _copy_eight(typingctx, out, i, j, x, k, l):  # noqa: E741
    """out[i, j:j + 8] = x[k, l:l + 8]."""

    def emit(context, builder, signature, values):
        kinds = signature.args
        target = _place(context, builder, kinds[0], values[0], values[1], values[2])
        source = _place(context, builder, kinds[3], values[3], values[4], values[5])
        builder.store(builder.load(source, align=8), target, align=8)
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, x, types.intp, types.intp), emit


@intrinsic
def _combine_sixteen(typingctx, out, i, c, a, start, step, x, first, last, sign):
    """out[i, c:c + 16] += sign * sum over k in first..last - 1 of a.flat[start + k * step] * x[k, c:c + 16]."""

    def emit(context, builder, signature, values):
        kinds = signature.args
        _, _, c, a, start, step, x, first, last, sign = values
        target = _place(context, builder, kinds[0], values[0], values[1], c)
        behind = builder.gep(target, [ir.Constant(ir.IntType(64), 1)])
        factors = context.make_array(kinds[3])(context, builder, a).data
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        begun = [builder.load(place, align=8) for place in (target, behind)]
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(first.type)
        totals = [builder.phi(_EIGHT) for _ in begun]
        builder.cbranch(builder.icmp_signed("<", k, last), body, after)
        builder.position_at_end(body)
        factor = builder.load(builder.gep(factors, [builder.add(start, builder.mul(k, step))]))
        many = _eight_times(builder, builder.fmul(factor, sign))
        source = _place(context, builder, kinds[6], x, k, c)
        sources = (source, builder.gep(source, [ir.Constant(ir.IntType(64), 1)]))
        sums = [
            builder.fadd(
                total, builder.fmul(many, builder.load(place, align=8), flags=("contract",)), flags=("contract",)
            )
            for total, place in zip(totals, sources, strict=True)
        ]
        k.add_incoming(first, before)
        k.add_incoming(builder.add(k, ir.Constant(k.type, 1)), builder.block)
        for total, begin, following in zip(totals, begun, sums, strict=True):
            total.add_incoming(begin, before)
            total.add_incoming(following, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        for place, total in zip((target, behind), totals, strict=True):
            builder.store(total, place, align=8)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(out, whole, whole, a, whole, whole, x, whole, whole, types.float64), emit


@kernel
def combine_rows(out, i, sign, a, row, x, first, last, low, high):
    """out[i, low:high] += sign * sum over k of a[row, k] * x[k, low:high], in whole groups of 16."""
    for c in range(low & ~15, high, 16):
        _combine_sixteen(out, i, c, a, row * a.shape[1], 1, x, first, last, sign)


@kernel
def combine_columns(out, i, sign, a, column, x, first, last, low, high):
    """out[i, low:high] += sign * sum over k of a[k, column] * x[k, low:high], in whole groups of 16."""
    for c in range(low & ~15, high, 16):
        _combine_sixteen(out, i, c, a, column, a.shape[1], x, first, last, sign)


@kernel
def add(out, i, factor, x, k, first, last):
    """out[i, first:last] += factor * x[k, first:last], from the group of `first` on."""
    for c in range(first & ~7, last, 8):
        _add_eight(out, i, c, x, k, c, factor)


@kernel
def add_shifted(out, i, to, factor, x, k, start, count):
    """out[i, to:to + count] += factor * x[k, start:start + count]."""
    for c in range(0, count, 8):
        _add_eight(out, i, to + c, x, k, start + c, factor)


@kernel
def copy_shifted(out, i, to, x, k, start, count):
    """out[i, to:to + count] = x[k, start:start + count]."""
    for c in range(0, count, 8):
        _copy_eight(out, i, to + c, x, k, start + c)


@kernel
def scale(out, i, factor, first, last):
    """out[i, first:last] *= factor, in whole groups."""
    for c in range(first & ~7, last, 8):
        _scale_eight(out, i, c, factor)


@kernel
def clear(out, i, count):
    """out[i, :count] = 0."""
    for c in range((count + 7) // 8 * 8):
        out[i, c] = 0.0
