import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.function.BooleanSupplier;

/** The Java side of the line protocol, and checks that all cases share. */
final class Telling {
    static final Duration PATIENCE = Duration.ofSeconds(60);

    /** Takes the bootstrap addresses and the name of topic and group; returns a note; throws where it fails. */
    interface Attempt {
        String run(String bootstrap, String name) throws Exception;
    }

    private Telling() {}

    /** Tries what the command line asks for: BOOTSTRAP RUN CAPABILITY… */
    static void tell(Map<String, Attempt> attempts, String[] arguments) {
        for (int index = 2; index < arguments.length; index++) {
            String capability = arguments[index];
            String word = "passed";
            String note;
            try {
                note = attempts.get(capability).run(arguments[0], arguments[1] + "-" + capability);
            } catch (Throwable error) { // whatever it is, it is the answer
                word = "failed";
                note = String.valueOf(error.getCause() == null ? error : error.getCause());
            }
            System.out.println("case\t" + capability + "\t" + word + "\t" + note.replaceAll("\\s+", " "));
            System.out.flush();
        }
    }

    static void check(boolean holds, String message) {
        if (!holds) {
            throw new AssertionError(message);
        }
    }

    static void checkEqual(Object found, Object expected, String what) {
        check(Objects.equals(found, expected), what + ": " + shortened(found) + " instead of " + shortened(expected));
    }

    /** Calls `done`, which does the polling itself, until it is so. */
    static void pollUntil(BooleanSupplier done, String what) {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!done.getAsBoolean()) {
            check(System.nanoTime() < deadline, "not within " + PATIENCE.toSeconds() + " s: " + what);
        }
    }

    private static String shortened(Object value) {
        String text = String.valueOf(value);
        return text.length() > 150 ? text.substring(0, 150) + "…" : text;
    }
}
