#include <cstdio>
#include <initializer_list>

double train_head(int steps);

int main() {
  for (const int steps : {1, 20}) std::printf("step %d  loss %.3f\n", steps, train_head(steps));
}
