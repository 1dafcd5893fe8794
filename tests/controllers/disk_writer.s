# A guest that writes its second disk through the firmware, sector after sector of a ring: 128 times the number of the write.
# --defsym FIRST=<sector where the ring begins>, --defsym RING=<sectors, a power of two>
        .code16
        .globl  _start
_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        xorl    %ebp, %ebp

next:   incl    %ebp
        movw    $0x8000, %di
        movl    %ebp, %eax
        movw    $128, %cx
        rep stosl
        movl    %ebp, %eax
        andl    $(RING - 1), %eax
        addl    $FIRST, %eax
        movl    %eax, sector

again:  movw    $packet, %si
        movw    $0x4300, %ax
        movb    $0x81, %dl
        int     $0x13
        jc      again

        xorw    %cx, %cx
        movw    $2000, %dx
        movb    $0x86, %ah
        int     $0x15
        jmp     next

        .balign 4
packet: .byte   16, 0
        .word   1, 0x8000, 0
sector: .long   0, 0

        .org    510
        .word   0xaa55
