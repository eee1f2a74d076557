package imdb.streaming;

import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * A hash table from 128-bit digests to an int and, if asked for, a long.
 *
 * <p>Open addressing over plain arrays: 20 bytes a slot, 28 with the long, three quarters of the slots
 * used at most. Digests are uniform already; a number of the table's own scatters them, so that entries that
 * come in the order of another table's slots, as from a snapshot, do not crowd in a part of this one: reading
 * millions of them would take hours.
 */
final class DigestTable {
    private static final int FEWEST_SLOTS = 1 << 10;

    private final boolean hasLongs;
    private final long scatter = new SplittableRandom().nextLong() | 1;
    private int shift;
    private long[] high;
    private long[] low;
    private int[] ints;
    private long[] longs;
    private int size;

    DigestTable(boolean hasLongs) {
        this.hasLongs = hasLongs;
        allocate(FEWEST_SLOTS);
    }

    private void allocate(int slots) {
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
        return (long) high.length * (hasLongs ? 28 : 20);
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
        if (high.length >= 1 << 29) {
            throw new IllegalStateException("The index is full: it holds " + size + " entries.");
        }
        rebuild(high.length * 2, Integer.MIN_VALUE);
    }

    /** Forget the entries whose int is below `least`. */
    void forgetBelow(int least) {
        if (Arrays.stream(slots()).anyMatch(slot -> ints[slot] < least)) {
            rebuild(high.length, least);
        }
    }

    private void rebuild(int slots, int least) {
        long[] oldHigh = high;
        long[] oldLow = low;
        int[] oldInts = ints;
        long[] oldLongs = longs;
        allocate(slots);
        for (int slot = 0; slot < oldHigh.length; slot++) {
            if ((oldHigh[slot] != 0 || oldLow[slot] != 0) && oldInts[slot] >= least) {
                put(oldHigh[slot], oldLow[slot], oldInts[slot], hasLongs ? oldLongs[slot] : 0);
            }
        }
    }

    /** The slots that are used. */
    int[] slots() {
        int[] used = new int[size];
        int next = 0;
        for (int slot = 0; slot < high.length; slot++) {
            if (high[slot] != 0 || low[slot] != 0) {
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
