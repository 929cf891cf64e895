"""Inner loops of the network, forwards and backwards, compiled with numba.

All arrays are float32 and contiguous, a node's `WIDTH` channels side by side. The nodes of a batch
stand example by example, in an example by colour, row and column; `Layout` has the numbers.
Matrix products are numpy's; everything else is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels.compilation import float_kernel

#: Channels of a node's state, and of the hidden layer of a block. Constants, so that the loops
#: over them are vector operations.
WIDTH, HIDDEN = 16, 32
#: Parts of what a node sees of the grid: itself, its four neighbours, the four diagonal ones, and
#: a sum of all eight with a weight for each direction.
SEEN = 4 * WIDTH
#: Mean and maximum.
POOLED = 2 * WIDTH
#: (row, column) steps to the eight neighbours; the four beside a cell first.
_DOWN = np.array([-1, 0, 0, 1, -1, -1, 1, 1], np.int64)
_RIGHT = np.array([0, -1, 1, 0, -1, 1, -1, 1], np.int64)


@float_kernel
def _tiled(directions: Any, width: int) -> Any:
    """Return the weights of each direction, repeated for every cell of a row."""
    tiled = np.empty((8, width * WIDTH), np.float32)
    for p in range(8):
        for k in range(width):
            for c in range(WIDTH):
                tiled[p, k * WIDTH + c] = directions[p, c]
    return tiled


@float_kernel
def _into_frame(plane: Any, frame: Any, height: int, width: int) -> None:
    """Copy a grid of nodes into a frame one cell wide, which stays as it is."""
    size = width * WIDTH
    for r in range(height):
        start = ((r + 1) * (width + 2) + 1) * WIDTH
        inside, values = frame[start : start + size], plane[r * size : (r + 1) * size]
        for j in range(size):
            inside[j] = values[j]


@float_kernel
def _see_neighbours(
    x: Any, node: int, height: int, width: int, frame: Any, tiled: Any, parts: Any, seen: Any
) -> None:
    """Fill in `seen` for one grid of nodes, row by row."""
    size, line = width * WIDTH, (width + 2) * WIDTH
    beside, diagonal, directed = parts[0], parts[1], parts[2]
    _into_frame(x.reshape(-1)[node * WIDTH :], frame, height, width)
    for r in range(height):
        middle = (r + 1) * line + WIDTH
        up, down = middle - line, middle + line
        # Slices, for within one numba knows that no index is negative and to be counted backwards.
        own, above, below = (
            frame[middle : middle + size],
            frame[up : up + size],
            frame[down : down + size],
        )
        left = frame[middle - WIDTH : middle - WIDTH + size]
        right = frame[middle + WIDTH : middle + WIDTH + size]
        for j in range(size):
            beside[j] = above[j] + below[j] + left[j] + right[j]
        above_left = frame[up - WIDTH : up - WIDTH + size]
        above_right = frame[up + WIDTH : up + WIDTH + size]
        below_left = frame[down - WIDTH : down - WIDTH + size]
        below_right = frame[down + WIDTH : down + WIDTH + size]
        for j in range(size):
            diagonal[j] = above_left[j] + above_right[j] + below_left[j] + below_right[j]
        directed[:] = 0
        for p in range(8):
            start = middle + _DOWN[p] * line + _RIGHT[p] * WIDTH
            weights, near = tiled[p], frame[start : start + size]
            for j in range(size):
                directed[j] += weights[j] * near[j]
        for k in range(width):
            for c in range(WIDTH):
                seen[node, c] = own[k * WIDTH + c]
            for c in range(WIDTH):
                seen[node, WIDTH + c] = beside[k * WIDTH + c]
            for c in range(WIDTH):
                seen[node, 2 * WIDTH + c] = diagonal[k * WIDTH + c]
            for c in range(WIDTH):
                seen[node, 3 * WIDTH + c] = directed[k * WIDTH + c]
            node += 1


@float_kernel
def _largest(values: Any, best: Any, top: Any, numbers: Any, first: int) -> None:
    """Keep the larger of `best` and `values`, and in `top` which node it is of."""
    for j in range(values.size):
        top[j] = numbers[j] + first if values[j] > best[j] else top[j]
    for j in range(values.size):
        best[j] = max(best[j], values[j])


@float_kernel
def see(
    x: Any, counts: Any, heights: Any, widths: Any, directions: Any,
    seen: Any, rows: Any, columns: Any, cells: Any, grids: Any, everything: Any,
    row_top: Any, column_top: Any, cell_top: Any, grid_top: Any, everything_top: Any,
) -> None:  # fmt: skip
    """Collect what each node sees: its neighbours, and pools over lines, grids and colours.

    Parameters
    ----------
    x : array of shape (nodes, WIDTH)
    counts, heights, widths : int64 arrays of shape (examples,)
        Colours, rows and columns.
    directions : array of shape (8, WIDTH)
    seen : array of shape (nodes, SEEN), written
    rows, columns, cells, grids, everything : arrays of shape (number of them, 2, WIDTH), written
        Mean and maximum; that of lines and grids is at least 0.
    row_top, column_top, cell_top, grid_top, everything_top : int32 arrays, written
        Of shape (number of them, WIDTH): which node each maximum is of; -1 where there is none.
    """
    flat = x.reshape(-1)
    node = row = column = cell = grid = 0
    rows[:] = 0
    columns[:] = 0
    grids[:] = 0
    everything[:] = 0
    row_top[:] = -1
    column_top[:] = -1
    grid_top[:] = -1
    everything_top[:] = -1
    for example in range(heights.size):
        colours, height, width = counts[example], heights[example], widths[example]
        area, size = height * width, width * WIDTH
        frame = np.zeros((height + 2) * (width + 2) * WIDTH, np.float32)
        tiled = _tiled(directions, width)
        parts = np.empty((3, size), np.float32)
        numbers = (np.arange(area * WIDTH) // WIDTH).astype(np.int32)
        sums, best = np.zeros(area * WIDTH, np.float32), np.empty(area * WIDTH, np.float32)
        tops = cell_top[cell : cell + area].reshape(-1)
        best[:] = -1e30
        line_sums, line_best = np.empty(size, np.float32), np.empty(size, np.float32)
        for _ in range(colours):
            _see_neighbours(x, node, height, width, frame, tiled, parts, seen)
            plane = flat[node * WIDTH : (node + area) * WIDTH]
            for j in range(area * WIDTH):
                sums[j] += plane[j]
            _largest(plane, best, tops, numbers, node)
            line_sums[:] = 0
            line_best[:] = 0
            line_top = column_top[column : column + width].reshape(-1)
            for r in range(height):
                values = plane[r * size : (r + 1) * size]
                for j in range(size):
                    line_sums[j] += values[j]
                _largest(values, line_best, line_top, numbers, node)
                mean, most, top = rows[row, 0], rows[row, 1], row_top[row]
                for k in range(width):
                    for c in range(WIDTH):
                        mean[c] += values[k * WIDTH + c]
                    for c in range(WIDTH):
                        top[c] = node if values[k * WIDTH + c] > most[c] else top[c]
                    for c in range(WIDTH):
                        most[c] = max(most[c], values[k * WIDTH + c])
                    node += 1
                for c in range(WIDTH):
                    grids[grid, 0, c] += mean[c] / area
                    grid_top[grid, c] = top[c] if most[c] > grids[grid, 1, c] else grid_top[grid, c]
                    grids[grid, 1, c] = max(most[c], grids[grid, 1, c])
                    mean[c] /= width
                row += 1
            for k in range(width):
                for c in range(WIDTH):
                    columns[column, 0, c] = line_sums[k * WIDTH + c] / height
                    columns[column, 1, c] = line_best[k * WIDTH + c]
                column += 1
            for c in range(WIDTH):
                everything[example, 0, c] += grids[grid, 0, c] / colours
                if grids[grid, 1, c] > everything[example, 1, c]:
                    everything[example, 1, c] = grids[grid, 1, c]
                    everything_top[example, c] = grid_top[grid, c]
            grid += 1
        for place in range(area):
            for c in range(WIDTH):
                cells[cell + place, 0, c] = sums[place * WIDTH + c] / colours
                cells[cell + place, 1, c] = best[place * WIDTH + c]
        cell += area


@float_kernel
def _neighbours_back(
    x: Any, node: int, height: int, width: int, frame: Any, d_frame: Any, tiled: Any, parts: Any,
    d_seen: Any, d_tiled: Any, d_x: Any,
) -> None:  # fmt: skip
    """Add what `_see_neighbours` passes back, for one grid of nodes."""
    size, line = width * WIDTH, (width + 2) * WIDTH
    beside, diagonal, directed = parts[0], parts[1], parts[2]
    _into_frame(x.reshape(-1)[node * WIDTH :], frame, height, width)
    d_frame[:] = 0
    first = node
    for r in range(height):
        middle = (r + 1) * line + WIDTH
        d_own = d_frame[middle : middle + size]
        for k in range(width):
            for c in range(WIDTH):
                d_own[k * WIDTH + c] += d_seen[node, c]
            for c in range(WIDTH):
                beside[k * WIDTH + c] = d_seen[node, WIDTH + c]
            for c in range(WIDTH):
                diagonal[k * WIDTH + c] = d_seen[node, 2 * WIDTH + c]
            for c in range(WIDTH):
                directed[k * WIDTH + c] = d_seen[node, 3 * WIDTH + c]
            node += 1
        for p in range(8):
            start = middle + _DOWN[p] * line + _RIGHT[p] * WIDTH
            near, d_near = frame[start : start + size], d_frame[start : start + size]
            weights, d_weights = tiled[p], d_tiled[p]
            undirected = beside if p < 4 else diagonal
            for j in range(size):
                d_near[j] += undirected[j] + weights[j] * directed[j]
            for j in range(size):
                d_weights[j] += near[j] * directed[j]
    flat = d_x.reshape(-1)[first * WIDTH :]
    for r in range(height):
        middle = (r + 1) * line + WIDTH
        d_own, d_row = d_frame[middle : middle + size], flat[r * size : (r + 1) * size]
        for j in range(size):
            d_row[j] += d_own[j]


@float_kernel
def see_back(
    x: Any, counts: Any, heights: Any, widths: Any, directions: Any,
    d_seen: Any, d_rows: Any, d_columns: Any, d_cells: Any, d_grids: Any, d_everything: Any,
    row_top: Any, column_top: Any, cell_top: Any, grid_top: Any, everything_top: Any,
    d_x: Any, d_directions: Any,
) -> None:  # fmt: skip
    """Add to `d_x` and `d_directions` what `see` passes back; the arrays are those of `see`."""
    node = row = column = cell = grid = 0
    even = np.empty(WIDTH, np.float32)
    for example in range(heights.size):
        colours, height, width = counts[example], heights[example], widths[example]
        area, size = height * width, width * WIDTH
        frame = np.zeros((height + 2) * (width + 2) * WIDTH, np.float32)
        d_frame = np.zeros_like(frame)
        tiled, d_tiled = _tiled(directions, width), np.zeros((8, size), np.float32)
        parts = np.empty((3, size), np.float32)
        for c in range(WIDTH):
            if everything_top[example, c] >= 0:
                d_x[everything_top[example, c], c] += d_everything[example, 1, c]
        over_cells = np.empty(area * WIDTH, np.float32)
        for place in range(area):
            for c in range(WIDTH):
                over_cells[place * WIDTH + c] = d_cells[cell + place, 0, c] / colours
                d_x[cell_top[cell + place, c], c] += d_cells[cell + place, 1, c]
        over_lines = np.empty(size, np.float32)
        for _ in range(colours):
            _neighbours_back(
                x, node, height, width, frame, d_frame, tiled, parts, d_seen, d_tiled, d_x
            )
            for c in range(WIDTH):
                even[c] = (d_grids[grid, 0, c] + d_everything[example, 0, c] / colours) / area
                if grid_top[grid, c] >= 0:
                    d_x[grid_top[grid, c], c] += d_grids[grid, 1, c]
            for k in range(width):
                for c in range(WIDTH):
                    over_lines[k * WIDTH + c] = d_columns[column, 0, c] / height + even[c]
                    if column_top[column, c] >= 0:
                        d_x[column_top[column, c], c] += d_columns[column, 1, c]
                column += 1
            flat = d_x.reshape(-1)[node * WIDTH : (node + area) * WIDTH]
            for r in range(height):
                d_row, by_cell = (
                    flat[r * size : (r + 1) * size],
                    over_cells[r * size : (r + 1) * size],
                )
                for j in range(size):
                    d_row[j] += by_cell[j] + over_lines[j]
                for c in range(WIDTH):
                    even[c] = d_rows[row, 0, c] / width
                for _ in range(width):
                    for c in range(WIDTH):
                        d_x[node, c] += even[c]
                    node += 1
                for c in range(WIDTH):
                    if row_top[row, c] >= 0:
                        d_x[row_top[row, c], c] += d_rows[row, 1, c]
                row += 1
            grid += 1
        for p in range(8):
            for j in range(size):
                d_directions[p, j % WIDTH] += d_tiled[p, j]
        cell += area


@float_kernel
def gate(
    u: Any, counts: Any, heights: Any, widths: Any,
    rows: Any, columns: Any, cells: Any, grids: Any, hidden: Any,
) -> None:  # fmt: skip
    """Add to `u` what the pools say, and gate one half of it by the other.

    The gate is SiLU's with the sigmoid (1 + softsign) / 2, which takes no exponential.
    """
    node = row = column = cell = grid = 0
    for example in range(heights.size):
        colours, height, width = counts[example], heights[example], widths[example]
        for _ in range(colours):
            place = cell
            for _ in range(height):
                for k in range(width):
                    for c in range(2 * HIDDEN):
                        u[node, c] += (
                            rows[row, c] + columns[column + k, c] + cells[place, c] + grids[grid, c]
                        )
                    for c in range(HIDDEN):
                        g = u[node, c]
                        share = np.float32(0.5) + np.float32(0.5) * g / (np.float32(1) + abs(g))
                        hidden[node, c] = g * share * u[node, HIDDEN + c]
                    node += 1
                    place += 1
                row += 1
            column += width
            grid += 1
        cell += height * width


@float_kernel
def gate_back(
    u: Any, counts: Any, heights: Any, widths: Any, d_hidden: Any,
    d_u: Any, d_rows: Any, d_columns: Any, d_cells: Any, d_grids: Any,
) -> None:  # fmt: skip
    """Write what `gate` passes back; sums over lines, cells and grids with it."""
    d_rows[:] = 0
    d_columns[:] = 0
    d_cells[:] = 0
    d_grids[:] = 0
    node = row = column = cell = grid = 0
    for example in range(heights.size):
        colours, height, width = counts[example], heights[example], widths[example]
        for _ in range(colours):
            place = cell
            for _ in range(height):
                for k in range(width):
                    for c in range(HIDDEN):
                        g, by = u[node, c], d_hidden[node, c]
                        inverse = np.float32(1) / (np.float32(1) + abs(g))
                        share = np.float32(0.5) + np.float32(0.5) * g * inverse
                        slope = share + np.float32(0.5) * g * inverse * inverse
                        d_u[node, c] = by * u[node, HIDDEN + c] * slope
                        d_u[node, HIDDEN + c] = by * g * share
                    for c in range(2 * HIDDEN):
                        d = d_u[node, c]
                        d_rows[row, c] += d
                        d_columns[column + k, c] += d
                        d_cells[place, c] += d
                    node += 1
                    place += 1
                for c in range(2 * HIDDEN):
                    d_grids[grid, c] += d_rows[row, c]
                row += 1
            column += width
            grid += 1
        cell += height * width


@float_kernel
def normalise(x: Any, change: Any, out: Any, scale: Any) -> None:
    """Add `change` to `x` and divide each node by its root mean square (RMSNorm, no weights)."""
    for node in range(x.shape[0]):
        total = np.float32(0)
        for c in range(WIDTH):
            value = x[node, c] + change[node, c]
            out[node, c] = value
            total += value * value
        inverse = np.float32(1) / np.sqrt(total / np.float32(WIDTH) + np.float32(1e-5))
        scale[node] = inverse
        for c in range(WIDTH):
            out[node, c] *= inverse


@float_kernel
def normalise_back(d_out: Any, out: Any, scale: Any, d_x: Any) -> None:
    """Write what `normalise` passes back to both of its terms."""
    for node in range(out.shape[0]):
        along = np.float32(0)
        for c in range(WIDTH):
            along += d_out[node, c] * out[node, c]
        along /= np.float32(WIDTH)
        for c in range(WIDTH):
            d_x[node, c] = scale[node] * (d_out[node, c] - along * out[node, c])


@float_kernel
def condition(
    e: Any, counts: Any, areas: Any, members: Any, sources: Any, vectors: Any, pairs: Any
) -> None:
    """Add to each node the vector of its colour, and that of (colour of its cell, its colour).

    `members` names the colours of each example.
    """
    node = cell = grid = 0
    for example in range(areas.size):
        for _ in range(counts[example]):
            k = members[grid]
            grid += 1
            for place in range(cell, cell + areas[example]):
                source = sources[place]
                for c in range(WIDTH):
                    e[node, c] += vectors[k, c] + pairs[source, k, c]
                node += 1
        cell += areas[example]


@float_kernel
def condition_back(
    d_e: Any, counts: Any, areas: Any, members: Any, sources: Any, d_vectors: Any, d_pairs: Any
) -> None:
    """Write what `condition` passes back."""
    d_vectors[:] = 0
    d_pairs[:] = 0
    node = cell = grid = 0
    for example in range(areas.size):
        for _ in range(counts[example]):
            k = members[grid]
            grid += 1
            for place in range(cell, cell + areas[example]):
                source = sources[place]
                for c in range(WIDTH):
                    d_vectors[k, c] += d_e[node, c]
                    d_pairs[source, k, c] += d_e[node, c]
                node += 1
        cell += areas[example]


@float_kernel
def cross_entropy(
    logits: Any, counts: Any, areas: Any, targets: Any, shares: Any, d_logits: Any
) -> Any:
    """Write the gradient of the mean over examples of the mean over cells; return the loss.

    Cells with a target of -1 don't count. `shares` is the weight of a cell of each example.
    """
    node = cell = 0
    loss = 0.0
    for example in range(areas.size):
        colours, area, share = counts[example], areas[example], shares[example]
        for place in range(area):
            target = targets[cell + place]
            if target < 0:
                for k in range(colours):
                    d_logits[node + k * area + place] = 0
                continue
            top = logits[node + place]
            for k in range(1, colours):
                top = max(top, logits[node + k * area + place])
            total = np.float32(0)
            for k in range(colours):
                value = np.exp(logits[node + k * area + place] - top)
                d_logits[node + k * area + place] = value
                total += value
            for k in range(colours):
                d_logits[node + k * area + place] *= share / total
            at = node + target * area + place
            loss += share * (np.log(total) + top - logits[at])
            d_logits[at] -= share
        node += area * colours
        cell += area
    return loss


@float_kernel
def adam(
    weights: Any, gradient: Any, first: Any, second: Any, averaged: Any,
    step: int, rate: float, decay: float, largest: float, keep: float,
) -> None:  # fmt: skip
    """Take a step of AdamW with a clipped gradient, and follow it with the moving average."""
    total = np.float32(0)
    for i in range(gradient.size):
        total += gradient[i] * gradient[i]
    clip = np.float32(min(1.0, largest / (np.sqrt(total) + 1e-6)))
    short = np.float32(1 / (1 - 0.9**step))
    long = np.float32(1 / (1 - 0.95**step))
    rate_, shrink, keep_ = np.float32(rate), np.float32(1 - rate * decay), np.float32(keep)
    for i in range(gradient.size):
        g = gradient[i] * clip
        first[i] = np.float32(0.9) * first[i] + np.float32(0.1) * g
        second[i] = np.float32(0.95) * second[i] + np.float32(0.05) * g * g
        weights[i] = shrink * weights[i] - rate_ * first[i] * short / (
            np.sqrt(second[i] * long) + np.float32(1e-8)
        )
        averaged[i] = keep_ * averaged[i] + (np.float32(1) - keep_) * weights[i]
