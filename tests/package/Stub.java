package android.graphics;

import java.nio.ByteBuffer;

/** What a packaged network's class needs of Android's Bitmap: pixels of four bytes, with a gap behind each row. */
public final class Bitmap {
  public enum Config { ARGB_8888, RGB_565 }

  private static final int GAP = 8;
  private final int width, height;
  private final Config config;
  public final byte[] pixels;

  private Bitmap(int width, int height, Config config) {
    this.width = width;
    this.height = height;
    this.config = config;
    pixels = new byte[getRowBytes() * height];
  }

  public static Bitmap createBitmap(int width, int height, Config config) {
    return new Bitmap(width, height, config);
  }

  public int getWidth() {
    return width;
  }

  public int getHeight() {
    return height;
  }

  public int getRowBytes() {
    return width * 4 + GAP;
  }

  public Config getConfig() {
    return config;
  }

  public void copyPixelsToBuffer(ByteBuffer to) {
    to.put(pixels);
  }

  public void copyPixelsFromBuffer(ByteBuffer from) {
    from.get(pixels);
  }
}
