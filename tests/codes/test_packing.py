import numpy as np
import pytest
import torch

from dskd.codes.packing import bits_for, pack, unpack


@pytest.mark.parametrize(("values", "bits"), [(1, 0), (2, 1), (3, 2), (10, 4), (16, 4), (17, 5), (256, 8), (49152, 16)])
def test_bits_are_as_few_as_tell_the_values_apart(values, bits):
    assert bits_for(values) == bits


def test_the_lowest_bit_comes_first_and_the_last_byte_is_filled_up():
    packed = pack(torch.tensor([1, 6, 3]), 3)  # 100 011 110, from the lowest bit on
    assert packed.tolist() == [0b11110001, 0b0]
    assert unpack(packed, 3, 3).tolist() == [1, 6, 3]


@pytest.mark.parametrize("bits", [0, 1, 4, 8, 15, 17])
def test_numbers_come_back_in_as_many_bytes_as_announced(bits):
    numbers = torch.randint(0, 2**bits, (101,), generator=torch.Generator().manual_seed(bits))
    packed = pack(numbers, bits)
    assert packed.dtype == np.uint8 and packed.nbytes == -(-101 * bits // 8)
    assert torch.equal(unpack(packed, bits, 101), numbers)


@pytest.mark.parametrize("number", [-1, 8])
def test_a_number_that_does_not_fit_is_refused(number):
    with pytest.raises(ValueError, match="do not fit in 3 bits"):
        pack(torch.tensor([0, number]), 3)
