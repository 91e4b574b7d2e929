# frozen_string_literal: true

require "test_helper"
require "jobtide/arguments"
require "jobtide/masking"

# What leaves of errors and arguments, by the vectors that every language's emitter passes.
class MaskingTest < Minitest::Test
  include JobtideTest

  def self.vectors(folder)
    Dir[File.join(CONTRACT, "vectors", folder, "*.json")].sort.flat_map { |path| JSON.parse(File.read(path)) }
  end

  def test_the_rules_are_the_contracts
    rules = Jobtide::Masking::RULES.map { |name, pattern, ignore_case| { "name" => name, "pattern" => pattern, "ignore_case" => ignore_case } }
    here = { "mask" => Jobtide::Masking::MASK, "rules" => rules, "quoted" => Jobtide::Masking::QUOTED, "varying" => Jobtide::Masking::VARYING }
    assert_equal JSON.parse(File.read(File.join(CONTRACT, "masking.json"))), here
  end

  def test_there_are_vectors
    assert_operator self.class.vectors("fingerprints").size, :>=, 80
    assert_operator self.class.vectors("arguments").size, :>=, 15
  end

  vectors("fingerprints").each do |vector|
    define_method("test_message_#{vector['why']}") do
      text = vector["message"] || vector["parts"].map { |part, times| part * times }.join
      %w[strict secrets off].each do |level|
        facts = Jobtide::Bounds.message(vector["class"], text, level)
        assert_equal vector["fingerprint"], facts["fingerprint"], level
        next if level == "off"

        made = facts["message"]
        assert_equal vector[level], vector["message"] ? made : { "sha256" => Digest::SHA256.hexdigest(made), "chars" => made.length }
      end
    end
  end

  vectors("arguments").each do |vector|
    define_method("test_arguments_#{vector['why']}") do
      settings = Jobtide::Settings.new(**{ args: "*", args_mask: vector["args_mask"] }.compact)
      assert_equal vector["shown"], Jobtide::Arguments.new(settings).preview("Any", vector["value"])
    end
  end
end
