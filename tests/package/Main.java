import android.graphics.Bitmap;
import java.nio.file.Files;
import java.nio.file.Path;
import srtvm.NETWORK;

/** Enlarges raw RGBA pixels: IN OUT HEIGHT WIDTH; then does what must be refused. */
public final class Main {
  @SuppressWarnings("try") // an explicit close
  public static void main(String[] arguments) throws Exception {
    int height = Integer.parseInt(arguments[2]), width = Integer.parseInt(arguments[3]);
    Bitmap picture = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888);
    copy(Files.readAllBytes(Path.of(arguments[0])), width * 4, picture.pixels, picture.getRowBytes(), height);
    try (NETWORK network = new NETWORK(2)) {
      network.enlarge(Bitmap.createBitmap(90, 70, Bitmap.Config.ARGB_8888)); // its memory is kept
      Bitmap result = network.enlarge(picture);
      byte[] pixels = new byte[result.getWidth() * result.getHeight() * 4];
      copy(result.pixels, result.getRowBytes(), pixels, result.getWidth() * 4, result.getHeight());
      Files.write(Path.of(arguments[1]), pixels);
      refused(() -> network.enlarge(Bitmap.createBitmap(5, 5, Bitmap.Config.RGB_565)));
      refused(() -> network.enlarge(Bitmap.createBitmap(5, 0, Bitmap.Config.ARGB_8888)));
      network.close(); // twice, with the block's end
      refused(() -> network.enlarge(picture));
    }
    refused(() -> new NETWORK(0));
    refused(() -> new NETWORK(100000));
  }

  private static void copy(byte[] from, int stride, byte[] to, int other, int rows) {
    for (int y = 0; y < rows; y++) System.arraycopy(from, y * stride, to, y * other, Math.min(stride, other));
  }

  private static void refused(Runnable call) {
    try {
      call.run();
    } catch (IllegalArgumentException | IllegalStateException error) {
      System.out.println(error.getMessage());
      return;
    }
    throw new AssertionError("not refused");
  }
}
