package imdb.streaming;

import java.util.SplittableRandom;

/**
 * A hash table from 128-bit digests to an int and, if asked for, a long.
 *
 * <p>Open addressing over plain arrays: 20 bytes a slot, 28 with the long, three quarters of the slots
 * used at most. Digests are uniform already; a number of the table's own scatters them, so that entries that
 * come in the order of another table's slots, as from a snapshot, do not crowd in a part of this one: reading
 * millions of them would take hours.
 *
 * <p>A table that is full is doubled: until the old arrays are dropped it takes half as much again as after it.
 */
final class DigestTable {
    private static final int FEWEST_SLOTS = 1 << 10;
    private static final int MOST_SLOTS = 1 << 29;

    private final boolean hasLongs;
    private final HeapBudget budget;
    private final long scatter = new SplittableRandom().nextLong() | 1;
    private int shift;
    private long[] high;
    private long[] low;
    private int[] ints;
    private long[] longs;
    private int size;

    DigestTable(boolean hasLongs, HeapBudget budget) {
        this.hasLongs = hasLongs;
        this.budget = budget;
        allocate(FEWEST_SLOTS);
    }

    private void allocate(int slots) {
        budget.take(bytes(slots));
        shift = Long.numberOfLeadingZeros(slots) + 1;
        high = new long[slots];
        low = new long[slots];
        ints = new int[slots];
        longs = hasLongs ? new long[slots] : null;
        size = 0;
    }

    int size() {
        return size;
    }

    /** What the arrays take, in bytes. */
    long bytes() {
        return bytes(high.length);
    }

    private long bytes(int slots) {
        return (long) slots * (hasLongs ? 28 : 20);
    }

    /** The slot of a digest, or the complement (~) of the free slot where it would go. */
    int find(long digestHigh, long digestLow) {
        long key = occupied(digestHigh, digestLow);
        int slot = (int) (digestLow * scatter >>> shift);
        while (low[slot] != 0 || high[slot] != 0) {
            if (low[slot] == digestLow && high[slot] == key) {
                return slot;
            }
            slot = (slot + 1) & (high.length - 1);
        }
        return ~slot;
    }

    /** Two zeros mark a free slot: the digest that is all zeros stands under another. */
    private static long occupied(long digestHigh, long digestLow) {
        return digestHigh == 0 && digestLow == 0 ? 1 : digestHigh;
    }

    int intAt(int slot) {
        return ints[slot];
    }

    long longAt(int slot) {
        return longs[slot];
    }

    /** Set a digest's values, adding it if it is new. */
    void put(long digestHigh, long digestLow, int number, long longNumber) {
        int slot = find(digestHigh, digestLow);
        if (slot < 0) {
            if (size >= high.length / 4 * 3) {
                grow();
                slot = find(digestHigh, digestLow);
            }
            slot = ~slot;
            high[slot] = occupied(digestHigh, digestLow);
            low[slot] = digestLow;
            size++;
        }
        ints[slot] = number;
        if (hasLongs) {
            longs[slot] = longNumber;
        }
    }

    private void grow() {
        if (high.length >= MOST_SLOTS) {
            throw new IllegalStateException("The index is full: it holds " + size + " entries.");
        }
        rebuild(high.length * 2);
    }

    /** See that the heap has room for so many more entries, or as many as there are if these are fewer. */
    void checkRoomFor(int entries) {
        if (size + Math.min(size, entries) > high.length / 4 * 3 && high.length < MOST_SLOTS) {
            budget.check(bytes(high.length * 2));
        }
    }

    /** Make an empty table large enough for so many entries, so that it need not grow under them. */
    void reserve(int entries) {
        int slots = high.length;
        while (slots < MOST_SLOTS && slots / 4 * 3 < entries) {
            slots *= 2;
        }
        if (size == 0 && slots > high.length) {
            budget.give(bytes());
            allocate(slots);
        }
    }

    /** Forget the entries whose int is below `least`, where they are: no second table is made. */
    void forgetBelow(int least) {
        for (int slot = 0; slot < high.length; slot++) {
            while (isUsed(slot) && ints[slot] < least) {
                remove(slot);
            }
        }
    }

    /** Close the gap with entries that stand behind it because of what stood there. */
    private void remove(int gap) {
        int mask = high.length - 1;
        for (int slot = gap + 1 & mask; isUsed(slot); slot = slot + 1 & mask) {
            int wanted = (int) (low[slot] * scatter >>> shift);
            if ((slot - wanted & mask) >= (slot - gap & mask)) {
                high[gap] = high[slot];
                low[gap] = low[slot];
                ints[gap] = ints[slot];
                if (hasLongs) {
                    longs[gap] = longs[slot];
                }
                gap = slot;
            }
        }
        high[gap] = 0;
        low[gap] = 0;
        size--;
    }

    private boolean isUsed(int slot) {
        return high[slot] != 0 || low[slot] != 0;
    }

    private void rebuild(int slots) {
        long[] oldHigh = high;
        long[] oldLow = low;
        int[] oldInts = ints;
        long[] oldLongs = longs;
        long oldBytes = bytes();
        allocate(slots);
        for (int slot = 0; slot < oldHigh.length; slot++) {
            if (oldHigh[slot] != 0 || oldLow[slot] != 0) {
                put(oldHigh[slot], oldLow[slot], oldInts[slot], hasLongs ? oldLongs[slot] : 0);
            }
        }
        budget.give(oldBytes);
    }

    /** The slots that are used. */
    int[] slots() {
        int[] used = new int[size];
        int next = 0;
        for (int slot = 0; slot < high.length; slot++) {
            if (isUsed(slot)) {
                used[next++] = slot;
            }
        }
        return used;
    }

    long highAt(int slot) {
        return high[slot];
    }

    long lowAt(int slot) {
        return low[slot];
    }
}
