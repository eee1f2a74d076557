package imdb.streaming;

import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;

/**
 * The part of the driver's heap that the index may take. What does not fit is told before it is asked for: an
 * OutOfMemoryError would come at each start again, and not say why.
 */
final class HeapBudget {
    /** What the driver keeps besides: Spark, a batch's facts and its changes. */
    private static final long REST = 128L << 20;

    /** Large arrays lie in the collector's part for what is old, two thirds of the heap with SerialGC. */
    private final long room;

    private long taken;

    HeapBudget() {
        this(
                ManagementFactory.getMemoryPoolMXBeans().stream()
                        .filter(pool -> pool.getType() == MemoryType.HEAP)
                        .mapToLong(HeapBudget::most)
                        .max()
                        .orElse(Long.MAX_VALUE));
    }

    private HeapBudget(long room) {
        this.room = room;
    }

    private static long most(MemoryPoolMXBean pool) {
        long most = pool.getUsage().getMax();
        return most < 0 ? Runtime.getRuntime().maxMemory() : most;
    }

    /** Count what is to be allocated. */
    void take(long bytes) {
        check(bytes);
        taken += bytes;
    }

    /** See that so much could be allocated. */
    void check(long bytes) {
        // The first tables are of no account, in the smallest heap.
        if (taken + bytes > Math.max(room - REST, 1 << 20)) {
            double share = (double) room / Runtime.getRuntime().maxMemory();
            throw new IndexTooLargeException(
                    String.format(
                            "The index of event ids and movies takes %d MB of the driver's heap, which has room for"
                                    + " %d MB of it. Raise streaming_driver_memory_mb (SPARK_DRIVER_MEMORY) to %d"
                                    + " at least.",
                            mebibytes(taken + bytes),
                            mebibytes(Math.max(room - REST, 0)),
                            mebibytes((long) ((taken + bytes + REST) / Math.min(share, 1))) + 1));
        }
    }

    /** Count what was dropped. */
    void give(long bytes) {
        taken -= bytes;
    }

    private static long mebibytes(long bytes) {
        return bytes + (1 << 20) - 1 >> 20;
    }
}
