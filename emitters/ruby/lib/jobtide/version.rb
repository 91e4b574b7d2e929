# frozen_string_literal: true

module Jobtide
  VERSION = "0.1.0"
end
