__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void dot_local(__global const float4* restrict x, __global const float4* restrict w, __global float4* restrict y) {
  __local float4 weights[192];
  for (int i = 0; i < 3; ++i) weights[i * 64 + get_local_id(0)] = w[i * 64 + get_local_id(0)];
  barrier(CLK_LOCAL_MEM_FENCE);
  int p = get_group_id(0) * 64 + get_local_id(0);
  float4 sum = (float4)(0.0f);
  for (int c = 0; c < 48; ++c) {
    float4 v = x[c * 4096 + p];
    for (int j = 0; j < 4; ++j) sum = weights[c * 4 + j] * v + sum;
  }
  y[p] = max(sum, (float4)(0.0f));
}
