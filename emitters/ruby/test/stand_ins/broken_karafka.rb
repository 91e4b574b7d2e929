# frozen_string_literal: true

# A Karafka that the hooks do not know: without a monitor.
module Karafka
  class App; end
end
$LOADED_FEATURES << "karafka.rb"
def require(name) = name == "karafka" ? true : super
