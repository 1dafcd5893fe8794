# A guest without an operating system: it dirties memory at a set rate and prints "tick N" to COM1 ten times a second.
# --defsym PAGES=<pages dirtied per 10 ms>, --defsym FIRST=<address>, --defsym END=<address>
        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp

        # COM1: 115200 baud, 8N1
        movw    $serial, %si
        movw    $7, %cx
setup:  lodsb
        movzbw  %al, %dx
        addw    $0x300, %dx
        lodsb
        outb    %al, %dx
        loop    setup

        # A20, then "unreal mode": real mode whose %fs reaches 4 GiB
        inb     $0x92, %al
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92
        lgdt    gdtr
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        jmp     1f
1:      movw    $8, %bx
        movw    %bx, %fs
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmp    $0, $2f
2:
        # The timer at 100 Hz, its interrupt ours: the firmware's would reload segments
        movw    $timer, 0x20
        movw    $0, 0x22
        movb    $0x34, %al
        outb    %al, $0x43
        movb    $0x9c, %al
        outb    %al, $0x40
        movb    $0x2e, %al
        outb    %al, $0x40
        movb    $0xfe, %al
        outb    %al, $0x21
        xorl    %ebp, %ebp
        movl    $FIRST, %edi

        # %bx counts interrupts down to the next line, %ebp is the counter written into the pages
round:  movw    $10, %bx
wait:   sti
        hlt
        cli
        movl    $PAGES, %ecx
        jecxz   done
dirty:  movl    %ebp, %fs:(%edi)
        addl    $4096, %edi
        cmpl    $END, %edi
        jb      3f
        movl    $FIRST, %edi
3:      decl    %ecx
        jnz     dirty
done:   decw    %bx
        jnz     wait

        movw    $text, %si
        movw    $5, %cx
print:  lodsb
        call    put
        loop    print
        movl    %ebp, %eax
        movl    $10, %esi
        xorw    %cx, %cx
digit:  xorl    %edx, %edx
        divl    %esi
        pushw   %dx
        incw    %cx
        testl   %eax, %eax
        jnz     digit
4:      popw    %ax
        addb    $'0', %al
        call    put
        loop    4b
        movb    $'\n', %al
        call    put
        incl    %ebp
        jmp     round

put:    movb    %al, %ah
        movw    $0x3fd, %dx
5:      inb     %dx, %al
        testb   $0x20, %al
        jz      5b
        movb    %ah, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

timer:  pushw   %ax
        movb    $0x20, %al
        outb    %al, $0x20
        popw    %ax
        iret

text:   .ascii  "tick "
serial: .byte   0xf9, 0, 0xfb, 0x80, 0xf8, 1, 0xf9, 0, 0xfb, 3, 0xfa, 0xc7, 0xfc, 3
        .balign 8
gdt:    .quad   0, 0x00cf92000000ffff
gdtr:   .word   15
        .long   gdt

        .org    510
        .word   0xaa55
