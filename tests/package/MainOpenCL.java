import android.graphics.Bitmap;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import srtvm.NETWORK;

/** Enlarges raw RGBA pixels on a device: IN OUT HEIGHT WIDTH opencl|auto|refused CACHE; tells what it ran on. */
public final class Main {
  @SuppressWarnings("try") // an explicit close
  public static void main(String[] arguments) throws Exception {
    int height = Integer.parseInt(arguments[2]), width = Integer.parseInt(arguments[3]);
    File cache = new File(arguments[5]);
    if (arguments[4].equals("refused")) {
      refused(() -> new NETWORK(1, NETWORK.OPENCL, cache));
      return;
    }
    Bitmap picture = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888);
    copy(Files.readAllBytes(Path.of(arguments[0])), width * 4, picture.pixels, picture.getRowBytes(), height);
    try (NETWORK network = arguments[4].equals("opencl") ? new NETWORK(2, NETWORK.OPENCL, cache) : new NETWORK(2)) {
      Bitmap result = network.enlarge(picture);
      byte[] pixels = new byte[result.getWidth() * result.getHeight() * 4];
      copy(result.pixels, result.getRowBytes(), pixels, result.getWidth() * 4, result.getHeight());
      Files.write(Path.of(arguments[1]), pixels);
      System.out.println("device " + network.device(height, width) + "\nwhy " + network.why(height, width));
      System.out.println("small device " + network.device(5, 5) + "\nsmall why " + network.why(5, 5));
      refused(() -> network.device(0, 5));
      network.close();
      refused(() -> network.why(5, 5));
    }
    refused(() -> new NETWORK(1, 3, null));
    try (NETWORK network = new NETWORK(1, NETWORK.CPU, null)) {
      if (!network.why(height, width).equals("the CPU was asked for")) throw new AssertionError();
    }
  }

  private static void copy(byte[] from, int stride, byte[] to, int other, int rows) {
    for (int y = 0; y < rows; y++) System.arraycopy(from, y * stride, to, y * other, Math.min(stride, other));
  }

  private static void refused(Runnable call) {
    try {
      call.run();
    } catch (IllegalStateException error) {
      System.out.println(error.getMessage());
      return;
    }
    throw new AssertionError("not refused");
  }
}
