"""The inner loops over words: splitting, counting, loops and repetition, compiled by numba and free of the interpreter's lock.

What each must return is said by a few lines of plain Python: `words` and `loops` in `text.py`, and the tests of `Batch`.
A hash of 64 bits stands for a run of words; whether two words are the same is decided by their bytes.
"""

import numpy as np
from numba import njit

SEPARATOR, MARK, NUMBER, LETTER, SOLO = range(5)
LOOK = 1
"""In the table of ASCII: this byte is not told by itself, being part of a longer character or an apostrophe."""
APOSTROPHE, CURLY = 0x27, 0x2019
TABLED = 0x40000
"""Code points above have no class but the variation selectors'."""

MIX = np.uint64(0x9E3779B97F4A7C15)
LONG = np.uint64(1 << 63)
PACKED = 7
"""Words of so many bytes are their own key; longer ones are compared byte by byte."""
BYTE_OF_BIT = np.uint64(0x0001020304050607)
"""Times the lowest bit of a byte, this has the byte's place on top."""
LETTER_BITS = np.uint64(0x4040404040404040)
"""What ASCII letters have, and digits do not."""

LONGEST_PERIOD, LEAST_COPIES, LEAST_LOOPED = 256, 3, 12
STRIDE = LEAST_LOOPED - 3
"""Of so many places in a row in a loop, each ends four repeated words: looking at every ninth misses none."""


@njit(cache=True, nogil=True)
def decode(data, at):  # type: ignore[no-untyped-def]
    """The code point here and how many bytes it takes; -1 and 1 past the end and where the bytes are no UTF-8."""
    if at >= len(data):
        return -1, 1
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    width = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC2 or first > 0xF4 or at + width > len(data):
        return -1, 1
    code = first & (0x7F >> width)
    for ahead in range(1, width):
        code = code << 6 | np.int64(data[at + ahead]) & 0x3F
    return (code, width) if code < 0x110000 else (-1, 1)


@njit(cache=True, nogil=True)
def kind_of(code, kinds):  # type: ignore[no-untyped-def]
    """What a code point is to a word."""
    if 0 <= code < TABLED:
        return np.int64(kinds[code])
    return MARK if 0xE0100 <= code < 0xE01F0 else SEPARATOR


@njit(cache=True, nogil=True)
def encode(code, out, at):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8; returns where the next goes."""
    if code < 0x80:
        out[at] = code
        return at + 1
    if code < 0x800:
        out[at] = 0xC0 | code >> 6
    elif code < 0x10000:
        out[at] = 0xE0 | code >> 12
        at += 1
        out[at] = 0x80 | code >> 6 & 0x3F
    else:
        out[at] = 0xF0 | code >> 18
        out[at + 1] = 0x80 | code >> 12 & 0x3F
        at += 2
        out[at] = 0x80 | code >> 6 & 0x3F
    out[at + 1] = 0x80 | code & 0x3F
    return at + 2


@njit(cache=True, nogil=True)
def split(data, offsets, small, kinds, lower, slots, keys, pool_ends, pool, known):  # type: ignore[no-untyped-def]
    """Cut texts into words and number them by a vocabulary that grows as needed.

    The vocabulary is an open table (`slots`, of numbers from 1 on) into the words' `keys` and bytes, which follow each other in `pool`,
    up to `pool_ends`.
    Returns the words' numbers and places (in characters), where each text's begin, and the vocabulary.
    """
    n_texts = len(offsets) - 1
    longest = 0
    for text in range(n_texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    most = (offsets[n_texts] - offsets[0]) // 2 + n_texts
    ids = np.empty(most, np.int32)
    begins = np.empty(most, np.uint32)
    ends = np.empty(most, np.uint32)
    cuts = np.empty(n_texts + 1, np.int64)
    spelled = (longest // 8 + 3) * 8
    low = np.zeros(3 * spelled, np.uint8)  # after the text there is room for one word of it, which may grow by half when lowered
    n = 0
    for text in range(n_texts):
        cuts[text] = n
        start = offsets[text]
        size = offsets[text + 1] - start
        for at in range(size):
            low[at] = small[data[start + at]]
        low[size : size + 16] = SEPARATOR
        at = inner = 0
        while True:
            at, inner, n, known, needed = split_on(
                data[start : start + size], low, at, inner, kinds, lower, slots, keys, pool_ends, pool, known, spelled, ids, begins, ends, n
            )
            if at == size:
                break
            slots, keys, pool_ends, pool = grow(keys, pool_ends, pool, known, needed)
    cuts[n_texts] = n
    return ids[:n], begins[:n], ends[:n], cuts, slots, keys, pool_ends, pool, known


@njit(cache=True, nogil=True)
def split_on(  # type: ignore[no-untyped-def]
    data, low, at, inner, kinds, lower, slots, keys, pool_ends, pool, known, spelled, ids, begins, ends, n
):
    """Cut one text from here on, up to its end or to the first word for which the vocabulary has no room.

    A word of plain ASCII is found in `low`, eight bytes at a time; anything else is spelled out behind it. `inner` counts bytes that began
    no character. Growing is left to the caller: this loop is twice as fast when its arrays cannot change.
    """
    size = len(data)
    eights = low.view(np.uint64)
    pooled = pool.view(np.uint64)
    shift = np.uint64(64 - int(np.log2(len(slots))))
    mask = len(slots) - 1
    while at < size:
        if low[at] == SEPARATOR:
            at += 1
            continue
        first_at, first_inner = at, inner
        key, seen, chunk, ended = np.uint64(0), np.uint64(0), eight(eights, at), np.uint64(0)
        while True:
            ended = gap(chunk)
            if ended:
                break
            key = (key ^ chunk) * MIX
            seen |= chunk
            at += 8
            chunk = eight(eights, at)
        at += np.int64(ended * BYTE_OF_BIT >> np.uint64(56))
        if low[at] == LOOK:
            at, inner, length, letter = spell(data, first_at, inner, low, spelled, kinds, lower)
            if not letter:
                continue
            said = spelled
            key = key_of(low, spelled, length)
        else:
            chunk &= ended - np.uint64(1)
            if (seen | chunk) & LETTER_BITS == 0:
                continue
            said = first_at
            length = at - first_at
            key = chunk if length <= PACKED else (key ^ chunk) * MIX | LONG
        slot = np.int64(key * MIX >> shift)
        while slots[slot] != 0:
            found = slots[slot] - 1
            if keys[found] == key:
                if length <= PACKED:
                    break
                first = pool_ends[found - 1] if found else 0
                if pool_ends[found] - first == length and same(eights, said, pooled, first, length):
                    break
            slot = (slot + 1) & mask
        if slots[slot] == 0:
            first = pool_ends[known - 1] if known else 0
            if known == len(keys) or first + length + 16 > len(pool):
                return first_at, first_inner, n, known, length
            for position in range(length):
                pool[first + position] = low[said + position]
            keys[known] = key
            pool_ends[known] = first + length
            known += 1
            slots[slot] = known
        ids[n] = slots[slot] - 1
        begins[n] = first_at - first_inner
        ends[n] = at - inner
        n += 1
    return at, inner, n, known, 0


@njit(cache=True, nogil=True)
def eight(eights, at):  # type: ignore[no-untyped-def]
    """The eight bytes from here on, the first of them lowest."""
    shift = np.uint64((at & 7) << 3)
    return eights[at >> 3] >> shift | eights[(at >> 3) + 1] << np.uint64(1) << (np.uint64(63) - shift)


@njit(cache=True, nogil=True)
def gap(chunk):  # type: ignore[no-untyped-def]
    """The lowest bit of the first byte that ends a run of plain letters, all by itself; 0 where none does."""
    without = chunk & np.uint64(0xFEFEFEFEFEFEFEFE)
    zeros = (without - np.uint64(0x0101010101010101)) & ~without & np.uint64(0x8080808080808080)
    return (zeros & (~zeros + np.uint64(1))) >> np.uint64(7)


@njit(cache=True, nogil=True)
def same(eights, at, others, other, length):  # type: ignore[no-untyped-def]
    """Whether so many bytes are the same in both."""
    while length >= 8:
        if eight(eights, at) != eight(others, other):
            return False
        at += 8
        other += 8
        length -= 8
    return length == 0 or (eight(eights, at) ^ eight(others, other)) << np.uint64(64 - 8 * length) == 0


@njit(cache=True, nogil=True)
def key_of(low, start, length):  # type: ignore[no-untyped-def]
    """The key of a word that was spelled out."""
    key = chunk = np.uint64(0)
    for position in range(length):
        if position and position & 7 == 0:
            key = (key ^ chunk) * MIX
            chunk = np.uint64(0)
        chunk |= np.uint64(low[start + position]) << np.uint64((position & 7) << 3)
    if length <= PACKED:
        return chunk
    if length & 7 == 0:
        key = (key ^ chunk) * MIX
        chunk = np.uint64(0)
    return (key ^ chunk) * MIX | LONG


@njit(cache=True, nogil=True)
def spell(data, at, inner, low, spelled, kinds, lower):  # type: ignore[no-untyped-def]
    """Read one word, or what stands in its place, by characters; returns where it ends, its length, and whether it has a letter."""
    length = 0
    letter = False
    while at < len(data):
        if low[at] > LOOK:
            low[spelled + length] = low[at]
            letter |= low[at] & 0x40 != 0
            length += 1
            at += 1
            continue
        code, width = decode(data, at)
        kind = kind_of(code, kinds)
        if code in (APOSTROPHE, CURLY):
            follows = kind_of(decode(data, at + width)[0], kinds)
            belongs = length > 0 and follows in (LETTER, NUMBER)
        else:
            belongs = kind in (NUMBER, LETTER) or (length > 0 and kind == MARK) or (length == 0 and kind == SOLO)
        if not belongs and length > 0:
            break
        at += width
        inner += width - 1
        if not belongs:
            break
        letter |= kind >= LETTER
        length = encode(lower[code] if code < TABLED else code, low, spelled + length) - spelled
        if kind == SOLO:
            break
    return at, inner, length, letter


@njit(cache=True, nogil=True)
def grow(keys, pool_ends, pool, known, needed):  # type: ignore[no-untyped-def]
    """The same vocabulary with twice the room, and at least so many bytes more."""
    room = 2 * len(keys)
    slots = np.zeros(2 * room, np.int32)
    shift = np.uint64(64 - int(np.log2(len(slots))))
    for number in range(known):
        slot = np.int64(keys[number] * MIX >> shift)
        while slots[slot] != 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = number + 1
    new_keys = np.empty(room, np.uint64)
    new_keys[:known] = keys[:known]
    new_ends = np.empty(room, np.int64)
    new_ends[:known] = pool_ends[:known]
    new_pool = np.empty(2 * len(pool) + (needed // 8 + 3) * 8, np.uint8)
    new_pool[: len(pool)] = pool
    return slots, new_keys, new_ends, new_pool


@njit(cache=True, nogil=True)
def find_loops(ids, cuts):  # type: ignore[no-untyped-def]
    """Which words stand in a loop after its first copy, and of each text the longest loop: first word, one past the last, period."""
    looped = np.zeros(len(ids), np.bool_)
    longest = np.zeros((len(cuts) - 1, 3), np.int64)
    most = 0
    for text in range(len(cuts) - 1):
        most = max(most, cuts[text + 1] - cuts[text])
    hashes = np.zeros(most, np.uint32)
    done = np.zeros(LONGEST_PERIOD + 1, np.int64)
    for text in range(len(cuts) - 1):
        said = ids[cuts[text] : cuts[text + 1]]
        marked = looped[cuts[text] : cuts[text + 1]]
        n = len(said)
        for at in range(3, n):
            hashes[at] = np.uint32(
                np.uint32(said[at]) * np.uint32(0x9E3779B1)
                + np.uint32(said[at - 1]) * np.uint32(0x85EBCA77)
                + np.uint32(said[at - 2]) * np.uint32(0xC2B2AE3D)
                + np.uint32(said[at - 3]) * np.uint32(0x27D4EB2F)
            )
        done[:] = 0
        inner_start = inner_end = inner_period = 0  # the latest loop: its multiples need not be gone through again
        for at in range(STRIDE, n, STRIDE):
            wanted = hashes[at]
            hits = np.uint32(0)
            for earlier in range(max(3, at - LONGEST_PERIOD), at):
                hits |= np.uint32(hashes[earlier] == wanted)
            if hits == 0:
                continue
            for period in range(1, min(LONGEST_PERIOD, at - 3) + 1):
                if hashes[at - period] != wanted or at < done[period] or said[at] != said[at - period]:
                    continue
                start, end = at, at + 1
                if inner_period and period % inner_period == 0 and inner_start + period <= at < inner_end:
                    start, end = inner_start + period, inner_end
                while start > period and said[start - 1] == said[start - 1 - period]:
                    start -= 1
                while end < n and said[end] == said[end - period]:
                    end += 1
                done[period] = end
                if end - start < max(LEAST_LOOPED, (LEAST_COPIES - 1) * period):
                    continue
                if start - period >= inner_start and end <= inner_end:
                    continue
                marked[start:end] = True
                inner_start, inner_end, inner_period = start - period, end, period
                words = end - inner_start
                best = longest[text, 1] - longest[text, 0]
                if words > best or (words == best and (inner_start, period) < (longest[text, 0], longest[text, 2])):
                    longest[text] = inner_start, end, period
    return looped, longest


@njit(cache=True, nogil=True)
def repeated(ids, cuts, n):  # type: ignore[no-untyped-def]
    """Share of a text's runs of n words that it had before; NaN where there is no such run."""
    shares = np.full(len(cuts) - 1, np.nan)
    most = 16
    for text in range(len(cuts) - 1):
        while most < 2 * (cuts[text + 1] - cuts[text]):
            most *= 2
    table = np.empty(most, np.uint64)
    leaving = np.uint64(1)
    for _ in range(n):
        leaving *= MIX
    for text in range(len(cuts) - 1):
        start, end = cuts[text], cuts[text + 1]
        runs = end - start - n + 1
        if runs < 1:
            continue
        bits = 4
        while 1 << bits < 2 * runs:
            bits += 1
        table[: 1 << bits] = 0
        shift = np.uint64(64 - bits)
        rolled = np.uint64(0)
        distinct = 0
        for at in range(start, end):
            rolled = rolled * MIX + scattered(ids[at])
            if at - start >= n:
                rolled -= leaving * scattered(ids[at - n])
            if at - start < n - 1:
                continue
            key = (rolled ^ rolled >> np.uint64(29)) | np.uint64(1)
            slot = np.int64(key * MIX >> shift)
            while table[slot] != 0 and table[slot] != key:
                slot = (slot + 1) & ((1 << bits) - 1)
            if table[slot] == 0:
                table[slot] = key
                distinct += 1
        shares[text] = 1 - distinct / runs
    return shares


@njit(cache=True, nogil=True)
def scattered(number):  # type: ignore[no-untyped-def]
    """A number spread over 64 bits, so that sums of such are as good as never the same."""
    mixed = (np.uint64(number) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)


@njit(cache=True, nogil=True)
def moving_variety(ids, cuts, window, known):  # type: ignore[no-untyped-def]
    """Mean share of different words over all windows of so many words; NaN where a text has fewer."""
    means = np.full(len(cuts) - 1, np.nan)
    inside = np.zeros(known, np.int64)
    for text in range(len(cuts) - 1):
        start, end = cuts[text], cuts[text + 1]
        if end - start < window:
            continue
        different = total = 0
        for at in range(start, end):
            different += inside[ids[at]] == 0
            inside[ids[at]] += 1
            if at - start >= window:
                inside[ids[at - window]] -= 1
                different -= inside[ids[at - window]] == 0
            if at - start >= window - 1:
                total += different
        means[text] = total / (end - start - window + 1) / window
        inside[ids[max(start, end - window) : end]] = 0
    return means


@njit(cache=True, nogil=True)
def tally(ids, cuts, looped, codes, known, keys, counts, used):  # type: ignore[no-untyped-def]
    """Add texts to a table of (code, word): how often, how often outside loops, in how many texts."""
    here = np.zeros((known, 4), np.uint32)  # of the texts of one code that follow each other: said, kept, texts, and the latest text
    seen = np.empty(known, np.int32)
    different = 0
    n_texts = len(cuts) - 1
    for text in range(n_texts):
        for at in range(cuts[text], cuts[text + 1]):
            word = ids[at]
            if here[word, 0] == 0:
                seen[different] = word
                different += 1
            here[word, 0] += np.uint32(1)
            here[word, 1] += np.uint32(not looped[at])
            if here[word, 3] != text + 1:
                here[word, 3] = text + 1
                here[word, 2] += np.uint32(1)
        if text + 1 < n_texts and codes[text + 1] == codes[text]:
            continue
        if 2 * (used + different) > len(keys):
            keys, counts = widen(keys, counts, 2 * (used + different))
        for position in range(different):
            word = seen[position]
            key = np.uint64(codes[text] + 1) << np.uint64(32) | np.uint64(word)
            used += put(keys, counts, key, here[word, 0], here[word, 1], here[word, 2])
            here[word] = 0
        different = 0
    return keys, counts, used


@njit(cache=True, nogil=True)
def put(keys, counts, key, said, kept, texts):  # type: ignore[no-untyped-def]
    """Add to one entry of the table; returns 1 when it is new."""
    slot = np.int64((key * MIX ^ key >> np.uint64(29)) * MIX >> np.uint64(20)) & (len(keys) - 1)
    while keys[slot] != key and keys[slot] != 0:
        slot = (slot + 1) & (len(keys) - 1)
    new = keys[slot] == 0
    keys[slot] = key
    counts[slot, 0] += said
    counts[slot, 1] += kept
    counts[slot, 2] += texts
    return np.int64(new)


@njit(cache=True, nogil=True)
def widen(keys, counts, least):  # type: ignore[no-untyped-def]
    """The same table with at least so much room."""
    room = len(keys)
    while room < least:
        room *= 2
    new_keys = np.zeros(room, np.uint64)
    new_counts = np.zeros((room, 3), np.uint32)
    for old in range(len(keys)):
        if keys[old] != 0:
            put(new_keys, new_counts, keys[old], counts[old, 0], counts[old, 1], counts[old, 2])
    return new_keys, new_counts


@njit(cache=True, nogil=True)
def merge(other_keys, other_counts, numbers, keys, counts, used):  # type: ignore[no-untyped-def]
    """Add another table, whose words have these numbers here."""
    for other in range(len(other_keys)):
        if other_keys[other] != 0:
            if 2 * used >= len(keys):
                keys, counts = widen(keys, counts, 2 * len(keys))
            word = np.uint64(numbers[np.int64(other_keys[other] & np.uint64(0xFFFFFFFF))])
            key = other_keys[other] >> np.uint64(32) << np.uint64(32) | word
            used += put(keys, counts, key, other_counts[other, 0], other_counts[other, 1], other_counts[other, 2])
    return keys, counts, used
